"""Recurrent sequence encoders behind one name: `sru`, `lstm` or `gru`."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sru_nn import SRU

RecurrentName = Literal["sru", "lstm", "gru"]
State = Tensor | tuple[Tensor, Tensor]


class RecurrentEncoder(nn.Module):
    """A stack of recurrent layers over padded, time-major sequences; padding never changes a result.

    Args:
        name: The cell: `sru`, `lstm` or `gru`.
        input_size: E.
        hidden_size: D, per direction.
        num_layers: L.
        dropout: Dropout between layers.
        bidirectional: Whether a second stack reads the sequence backwards (N = 2 instead of 1).

    Raises:
        ValueError: When `name` is not one of the three.
    """

    def __init__(
        self,
        name: RecurrentName,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 2,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        classes: dict[str, type[nn.Module]] = {"sru": SRU, "lstm": nn.LSTM, "gru": nn.GRU}
        if name not in classes:
            raise ValueError(f"unknown recurrent encoder {name!r}; expected one of {', '.join(classes)}")
        self.name = name
        self.output_size = hidden_size * (2 if bidirectional else 1)
        # torch warns about dropout that has no second layer to stand before.
        between = dropout if num_layers > 1 else 0.0
        self.rnn = classes[name](
            input_size, hidden_size, num_layers, dropout=between, bidirectional=bidirectional
        )

    def forward(
        self, x: Tensor, mask: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Encode a batch.

        Args:
            x: (T, B, E) inputs.
            mask: (T, B) bool, True where there is padding, which must follow the real positions.
            state: What an earlier call returned, to read on from there.

        Returns:
            h: (T, B, N·D) outputs, zero at padding.
            state: The final states, for the next call: c for `sru`, h for `gru`, (h, c) for `lstm`.
        """
        if mask is None:
            h, state = self.rnn(x, state)
            return h, state
        if self.name == "sru":
            h, state = self.rnn(x, state, mask_pad=mask)
            return h, state
        lengths = (~mask).sum(0).cpu()
        packed, state = self.rnn(pack_padded_sequence(x, lengths, enforce_sorted=False), state)
        h, _ = pad_packed_sequence(packed, total_length=x.shape[0])
        return h, state


def pool(h: Tensor, mask: Tensor) -> Tensor:
    """Summarise each sequence by the maximum and the mean over its real positions.

    Args:
        h: (T, B, O) outputs, zero at padding.
        mask: (T, B) bool, True where there is padding; at least one position of each sequence is real.

    Returns:
        (B, 2·O), the maxima and then the means.
    """
    padding = mask.unsqueeze(-1)
    largest = h.masked_fill(padding, -torch.inf).amax(0)
    mean = h.sum(0) / (~padding).sum(0)
    return torch.cat([largest, mean], -1)
