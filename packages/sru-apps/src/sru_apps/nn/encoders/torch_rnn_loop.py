"""PyTorch's LSTM and GRU in graphs for sequences of any length, where PyTorch writes out every step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def read_in_loop(rnn: Any, x: Tensor, mask: Tensor | None, state: Any) -> tuple[Tensor, Any]:
    """Read a sequence as `rnn` does, with a loop over time that stays a loop in an exported graph.

    Padding leaves the state as it is, in both directions.

    Args:
        rnn: An `nn.LSTM` or `nn.GRU`, time-major.
        x: (T, B, E).
        mask: (T, B) bool, True at padding, or None.
        state: The states before, (L·N, B, D) each; None at the start.

    Returns:
        h: (T, B, N·D), zero at padding.
        state: The states after.
    """
    # Here, since export is slow to import and rarely wanted.
    from sru_nn.export.operators import scan

    advance = _lstm if isinstance(rnn, nn.LSTM) else _gru
    parts = 2 if isinstance(rnn, nn.LSTM) else 1
    pad = None if mask is None else mask.unsqueeze(-1)
    ways = 2 if rnn.bidirectional else 1
    last = []
    for first in range(0, len(rnn.all_weights), ways):
        outputs = []
        for row in range(first, first + ways):
            of_input, of_state, bias, state_bias = rnn.all_weights[row]
            if state is None:
                carried = x.new_zeros(x.shape[1], parts * rnn.hidden_size)
            else:
                carried = torch.cat([part[row] for part in state], -1) if parts == 2 else state[row]
            over_time = [F.linear(x, of_input, bias), *([] if pad is None else [pad])]
            if row > first:
                over_time = [given.flip(0) for given in over_time]

            def step(before: Tensor, u: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
                *padding, of_state, state_bias = rest[: len(over_time) + 1]  # noqa: B023
                after = advance(u, before, of_state, state_bias)
                after = torch.where(padding[0], before, after) if padding else after
                return after, after[:, : rnn.hidden_size].clone()

            carried, h = scan(step, carried, over_time, of_state, state_bias)
            last.append(carried)
            outputs.append(h.flip(0) if row > first else h)
        x = torch.cat(outputs, -1)
        x = x if pad is None else x.masked_fill(pad, 0.0)
    after = torch.stack(last)
    return x, after if parts == 1 else after.chunk(2, -1)


def _lstm(u: Tensor, carried: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    h, c = carried.chunk(2, -1)
    u_i, u_f, u_c, u_o = (u + F.linear(h, weight, bias)).chunk(4, -1)
    c = u_f.sigmoid() * c + u_i.sigmoid() * u_c.tanh()
    return torch.cat([u_o.sigmoid() * c.tanh(), c], -1)


def _gru(u: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    (u_r, u_z, u_n), (v_r, v_z, v_n) = u.chunk(3, -1), F.linear(h, weight, bias).chunk(3, -1)
    z = (u_z + v_z).sigmoid()
    return (1 - z) * (u_n + (u_r + v_r).sigmoid() * v_n).tanh() + z * h
