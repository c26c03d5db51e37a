"""Convolutions that shorten a sequence before a recurrent encoder reads it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ConvState = tuple[Tensor, ...]
"""The inputs that each layer still needs, (1 or 2, B, E) each."""


class ConvSubsampling(nn.Module):
    """Shorten sequences by a factor of 1, 2 or 4, each halving by one convolution.

        y_k = ReLU(W₋ x_{2k-1} + W₀ x_{2k} + W₊ x_{2k+1} + b)        k = 0, ..., ⌈T / 2⌉ - 1

    where x is zero before and after the sequence. There is no look-ahead: an output needs only the inputs it
    covers, so the k-th output with factor s is known once input s·(k + 1) - 1 is.

    Args:
        input_size: E.
        size: The features of an output, or of the input if the factor is 1.
        factor: s.
    """

    def __init__(self, input_size: int, size: int, factor: int) -> None:
        super().__init__()
        halvings = {1: 0, 2: 1, 4: 2}[factor]
        sizes = [input_size, *[size] * halvings]
        self._sizes, self.output_size = sizes, sizes[-1]
        self.layers = nn.ModuleList(
            nn.Conv1d(before, size, kernel_size=3, stride=2) for before in sizes[:halvings]
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Shorten whole sequences.

        Args:
            x: (T, B, E).
            mask: (T, B) bool, True at padding, which must follow the real positions; None without padding.

        Returns:
            y: (⌈T / s⌉, B, size).
            mask: Its padding: a sequence of n positions has ⌈n / s⌉ outputs.
        """
        for layer in self.layers:
            if mask is not None:
                x = x.masked_fill(mask.unsqueeze(-1), 0.0)
                mask = mask[::2]
            x = _convolve(layer, F.pad(x, (0, 0, 0, 0, 1, x.shape[0] % 2)))
        return x, mask

    def start(self, batch: int, like: Tensor) -> ConvState:
        """Return the state before the first position.

        Args:
            batch: B.
            like: A tensor of the dtype and on the device of the inputs.
        """
        return tuple(like.new_zeros(1, batch, size) for size in self._sizes[:-1])

    def stream(self, x: Tensor, state: ConvState, *, last: bool = False) -> tuple[Tensor, ConvState]:
        """Shorten the next piece of sequences; the outputs of all pieces equal those of `forward`.

        Args:
            x: (T, B, E), T may be 0.
            state: The return value of the previous call or of `start`.
            last: Whether the sequences end with this piece.

        Returns:
            y: The outputs that are known now.
            state: For the next piece.
        """
        after = []
        for layer, before, size in zip(self.layers, state, self._sizes[1:], strict=True):
            x = torch.cat([before, x])
            if last and x.shape[0] % 2 == 0:
                x = F.pad(x, (0, 0, 0, 0, 0, 1))
            known = (x.shape[0] - 1) // 2
            after.append(x[2 * known :])
            x = _convolve(layer, x[: 2 * known + 1]) if known else x.new_zeros(0, x.shape[1], size)
        return x, tuple(after)


def _convolve(layer: nn.Module, x: Tensor) -> Tensor:
    return F.relu(layer(x.permute(1, 2, 0)).permute(2, 0, 1))
