"""Residual stacks: layers that wrap a recurrence in a norm, two linear maps and a residual connection."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sru_nn.arguments import check_probabilities
from sru_nn.gemm import project
from sru_nn.positions import Positions
from sru_nn.recurrent import Sequences, Stack, by_layer, without_padding


class ResidualBlock(nn.Module):
    """x_t + W_o y_t, where y is a recurrence over u_t = W norm(x_t) that a subclass defines.

    Attributes:
        norm: The layer norm.
        transform: W, an `nn.Linear`.
        output: W_o, an `nn.Linear`.
        dropout: The dropout of W_o y_t.
        state_shape: The shape of the state of one sequence.
    """

    def __init__(
        self,
        hidden_size: int,
        pre_activations: int,
        outputs: int,
        state_shape: tuple[int, ...],
        dropout: float,
    ) -> None:
        super().__init__()
        self.state_shape = state_shape
        self.norm = nn.LayerNorm(hidden_size)
        self.transform = nn.Linear(hidden_size, pre_activations, bias=False)
        self.output = nn.Linear(outputs, hidden_size, bias=False)
        self.dropout = nn.Dropout(dropout)

    @abstractmethod
    def recur(self, u: Tensor, state: Tensor | None, where: Positions) -> tuple[Tensor, Tensor]:
        """Return y `(T, B, ...)` and the state after the last step."""

    def reset_parameters(self) -> None:
        """Draw the weights anew, as PyTorch initialises each module."""
        for module in (self.norm, self.transform, self.output):
            module.reset_parameters()

    def forward(
        self, x: Tensor, state: Tensor | None = None, mask_pad: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the block.

        Args:
            x: `(T, B, D)`.
            state: The state before the first step; zeros if None.
            mask_pad: `(T, B)` bool, True where a position is padding.

        Returns:
            `x`: `(T, B, D)`.
            `state`: The state after the last step.
        """
        y, state = self.recur(project(self.transform, self.norm(x)), state, Positions(mask_pad))
        return x + self.dropout(project(self.output, y)), state


class ResidualStack(Stack):
    """Residual blocks, one after the other, with a linear map before them and a norm after them."""

    state_letters = "(L, B, ...)"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        batch_first: bool,
    ) -> None:
        super().__init__()
        self._set_sizes(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=False,
            batch_first=batch_first,
            project_input=True,
        )
        check_probabilities(type(self).__name__, dropout=dropout)
        self.dropout = float(dropout)
        self.norm = nn.LayerNorm(hidden_size)
        self.layers = nn.ModuleList()

    def _add(self, blocks: Iterable[ResidualBlock]) -> None:
        self.layers.extend(blocks)
        self.reset_parameters()

    def forward(
        self, x: Sequences, state: Tensor | None = None, mask_pad: Tensor | None = None
    ) -> tuple[Sequences, Tensor]:
        """Run the stack.

        Args:
            x: `(T, B, E)`, `(B, T, E)` with `batch_first`, `(T, E)` for a single sequence, or a
                `PackedSequence`.
            state: The states before the first step, in the shape of the class; without B for a single
                sequence; zeros if None.
            mask_pad: `(T, B)`, `(B, T)` with `batch_first`, or `(T,)` for a single sequence: non-zero where a
                position is padding. The state passes it unchanged and its output is zero.

        Returns:
            `h`: The outputs of the last layer, in the form of `x` with D features.
            `state`: The states after the last step; float32, or float64 for float64 input.

        Raises:
            ValueError: A shape does not fit, or `mask_pad` comes with a `PackedSequence`.
            TypeError: A dtype does not fit.
        """
        return self._forward(x, state, mask_pad)

    def _first(self) -> nn.Module:
        return self.input_to_hidden or self.norm

    def _check_state(self, state: Any, *batch: int) -> None:
        if state is not None:
            block: ResidualBlock = self.layers[0]  # type: ignore[assignment]
            shape = (self.num_layers, *block.state_shape)
            self._check_state_tensor("state", state, batch, self.state_letters, shape)

    def _run(self, x: Tensor, state: Tensor | None, where: Positions) -> tuple[Tensor, Tensor]:
        x = self._enter(x, where.mask_pad)
        last = []
        for block, before in zip(self.layers, by_layer(state, self.num_layers), strict=True):
            x, after = block(x, before, where.mask_pad)
            last.append(after)
        return without_padding(self.norm(x), where.mask_pad), torch.stack(last)
