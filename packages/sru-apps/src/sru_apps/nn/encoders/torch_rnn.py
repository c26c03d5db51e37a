"""PyTorch's LSTM and GRU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sru_apps.nn.encoders.record import Encoder, between_layers


def build(
    kind: type[nn.Module],
    input_size: int,
    hidden_size: int,
    num_layers: int,
    *,
    dropout: float,
    bidirectional: bool,
) -> nn.Module:
    """Build the stack."""
    between = between_layers(dropout, num_layers)
    return kind(input_size, hidden_size, num_layers, dropout=between, bidirectional=bidirectional)


def read(
    rnn: Any, x: Tensor, mask: Tensor | None, state: Any, *, run: Callable[..., Any], by_layers: bool
) -> tuple[Tensor, Any]:
    """Read a sequence, packed where there is padding."""
    if mask is None:
        return run(rnn, x, state)  # type: ignore[no-any-return]
    packed, state = run(rnn, pack_padded_sequence(x, (~mask).sum(0).cpu(), enforce_sorted=False), state)
    return pad_packed_sequence(packed, total_length=x.shape[0])[0], state


def step(rnn: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Read one position: a sequence of one."""
    h, state = rnn(x.unsqueeze(0), state)
    return h.squeeze(0), state


LSTM, GRU = (
    Encoder(partial(build, kind), both_ways=True, read=read, step=step) for kind in (nn.LSTM, nn.GRU)
)
