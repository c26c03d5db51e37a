"""PyTorch's LSTM and GRU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence, unpack_sequence

from sru_apps.nn.encoders.record import Encoder, between_layers, call
from sru_apps.nn.encoders.torch_rnn_loop import read_in_loop
from sru_apps.nn.states import map_state
from sru_nn.operators import TORCH_2_13


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
    rnn: Any,
    x: Tensor,
    mask: Tensor | None,
    state: Any,
    reset: Tensor | None,
    *,
    run: Callable[..., Any],
    by_layers: bool,
) -> tuple[Tensor, Any]:
    """Read a sequence, packed if there is padding, and in pieces if sequences begin within it.

    In an export, the sequence is read in a loop, because PyTorch would unroll its own modules step by step.
    """
    if TORCH_2_13 and torch.compiler.is_exporting() and reset is None:
        return read_in_loop(rnn, x, mask, state)
    if reset is not None:
        return read_pieces(rnn, x, mask, state, reset, run=run)
    if mask is None:
        return run(rnn, x, state)  # type: ignore[no-any-return]
    packed, state = run(rnn, pack_padded_sequence(x, (~mask).sum(0).cpu(), enforce_sorted=False), state)
    return pad_packed_sequence(packed, total_length=x.shape[0])[0], state


def read_pieces(
    rnn: Any, x: Tensor, mask: Tensor | None, state: Any, reset: Tensor, *, run: Callable[..., Any]
) -> tuple[Tensor, Any]:
    """Read each sequence of each row separately, all of them packed into one batch.

    Args:
        rnn: The stack.
        x: (T, B, E), with at least one real position in each row.
        mask: (T, B) bool, True at padding, which follows the real positions; or None.
        state: The states before the rows, (L·N, B, ·) each.
        reset: (T, B) bool, True where a sequence begins.
        run: Calls a module with arguments.

    Returns:
        h: (T, B, N·D), zero at padding.
        state: The states after the rows.
    """
    real = torch.ones_like(reset.t()) if mask is None else ~mask.t()
    begins = reset.t() & real
    anew = begins[:, 0].clone()
    begins[:, 0] = True
    # The pieces are numbered along the first row, then along the second, and so on.
    number = begins.flatten().cumsum(0) - 1
    first, last = number.view_as(begins)[:, 0], number.view_as(begins)[:, -1]
    lengths = torch.bincount(number[real.flatten()]).tolist()
    pieces = pack_sequence(list(torch.split(x.transpose(0, 1)[real], lengths)), enforce_sorted=False)
    ways = 2 if rnn.bidirectional else 1

    def before(given: Tensor) -> Tensor:
        """Assign the state of a row to its first piece or, for the backward direction, to its last."""
        all_pieces = given.new_zeros(given.shape[0], len(lengths), given.shape[2])
        all_pieces[::ways, first] = given[::ways].masked_fill(anew[:, None], 0.0)
        if ways == 2:
            all_pieces[1::2, last] = given[1::2]
        return all_pieces

    def after(found: Tensor) -> Tensor:
        if ways == 1:
            return found[:, last]
        return torch.stack([found[::2, last], found[1::2, first]], dim=1).flatten(0, 1)

    packed, state = run(rnn, pieces, map_state(state, before))
    rows = torch.cat(unpack_sequence(packed))
    h = rows.new_zeros(*real.shape, rows.shape[-1])
    h[real] = rows
    return h.transpose(0, 1), map_state(state, after)


def step(rnn: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Read one position, as a sequence of length one."""
    h, state = read(rnn, x.unsqueeze(0), None, state, None, run=call, by_layers=False)
    return h.squeeze(0), state


LSTM, GRU = (
    Encoder(partial(build, kind), both_ways=True, read=read, step=step) for kind in (nn.LSTM, nn.GRU)
)
