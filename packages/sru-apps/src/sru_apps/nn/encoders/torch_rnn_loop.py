"""PyTorch's LSTM and GRU in exported graphs, for sequences of any length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def read_in_loop(rnn: Any, x: Tensor, mask: Tensor | None, state: Any) -> tuple[Tensor, Any]:
    """Read a sequence as `rnn` does, with a loop over time that stays a loop in an exported graph.

    Padding leaves the state as it is, in both directions. A single step has no loop.

    Args:
        rnn: An `nn.LSTM` or `nn.GRU`, time-major.
        x: (T, B, E).
        mask: (T, B) bool, True at padding, or None.
        state: The states before, (L·N, B, D) each; None at the start.

    Returns:
        h: (T, B, N·D), zero at padding.
        state: The states after.
    """
    is_lstm = isinstance(rnn, nn.LSTM)
    ways = 2 if rnn.bidirectional else 1
    if state is None:
        state = x.new_zeros(len(rnn.all_weights), x.shape[1], rnn.hidden_size * (2 if is_lstm else 1))
    elif is_lstm:
        state = torch.cat(state, -1)
    pad, last = None if mask is None else mask.unsqueeze(-1), []
    for first in range(0, len(rnn.all_weights), ways):
        outputs = []
        for row in range(first, first + ways):
            h, after = _read_one_way(rnn, row, x, pad, state[row], backwards=row > first)
            outputs.append(h)
            last.append(after)
        x = torch.cat(outputs, -1)
        x = x if pad is None else x.masked_fill(pad, 0.0)
    after = torch.stack(last)
    return x, after.chunk(2, -1) if is_lstm else after


def _read_one_way(
    rnn: Any, row: int, x: Tensor, pad: Tensor | None, carried: Tensor, *, backwards: bool
) -> tuple[Tensor, Tensor]:
    """Read a sequence with one layer in one direction; an LSTM carries [h; c], a GRU h."""
    # Imported here because export is slow to import and rarely needed.
    from sru_nn.export.operators import scan

    of_input, of_state, bias, state_bias = rnn.all_weights[row]
    over_time = [F.linear(x, of_input, bias), *([] if pad is None else [pad])]
    if backwards:
        over_time = [given.flip(0) for given in over_time]
    advance = _lstm if isinstance(rnn, nn.LSTM) else _gru

    def step(before: Tensor, u: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        *padding, of_state, state_bias = rest[: len(over_time) + 1]  # sizes follow
        after = advance(u, before, of_state, state_bias)
        after = torch.where(padding[0], before, after) if padding else after
        return after, after[:, : rnn.hidden_size].clone()

    if isinstance(x.shape[0], int) and x.shape[0] == 1:
        carried, h = step(carried, *(given.squeeze(0) for given in over_time), of_state, state_bias)
        return h.unsqueeze(0), carried
    carried, h = scan(step, carried, over_time, of_state, state_bias)
    return h.flip(0) if backwards else h, carried


def _lstm(u: Tensor, carried: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    h, c = carried.chunk(2, -1)
    u_i, u_f, u_c, u_o = (u + F.linear(h, weight, bias)).chunk(4, -1)
    c = u_f.sigmoid() * c + u_i.sigmoid() * u_c.tanh()
    return torch.cat([u_o.sigmoid() * c.tanh(), c], -1)


def _gru(u: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    (u_r, u_z, u_n), (v_r, v_z, v_n) = u.chunk(3, -1), F.linear(h, weight, bias).chunk(3, -1)
    z = (u_z + v_z).sigmoid()
    return (1 - z) * (u_n + (u_r + v_r).sigmoid() * v_n).tanh() + z * h
