"""The recurrence of the minimal GRU in plain PyTorch, the oracle of its faster forms.

Written from the paper, with autograd for the gradients. Nothing here calls a kernel or checks an argument.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sru_nn import pieces
from sru_nn.dtypes import accumulate_dtype

States = Callable[..., tuple[Tensor, Tensor]]


def mingru_states(
    u_h: Tensor, u_z: Tensor, h: Tensor, starts: Tensor | None = None, h_reset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Walk over time: h_t = (1 − z_t) ⊙ h_{t-1} + z_t ⊙ u_h with z_t = σ(u_z).

    Args:
        u_h: `(T, B, D)`.
        u_z: `(T, B, D)`; minus infinity where the state passes unchanged.
        h: `(B, D)`, the state before the first step.
        starts: `(T, B)` bool, True where `h_reset` replaces h_{t-1}; or None.
        h_reset: `(D,)`, or `(T, B, D)` for one state per position; with `starts` only.

    Returns:
        `h`: `(T, B, D)`, the states after each step.
        `h_last`: `(B, D)`, the state after the last step.
    """
    over_time = [u_h, torch.sigmoid(u_z)]
    if starts is not None and h_reset is not None:
        over_time += [starts.unsqueeze(2), h_reset.expand_as(u_h)]
    states = []
    for u_h_t, z_t, *start in zip(*(tensor.unbind(0) for tensor in over_time), strict=True):
        if start:
            h = torch.where(start[0], start[1], h)  # not a product: the previous state may be NaN
        h = torch.lerp(h, u_h_t, z_t)  # (1 − z) ⊙ h + z ⊙ u_h
        states.append(h)
    return torch.stack(states) if states else u_h, h


def mingru_recurrence(
    u: Tensor,
    h0: Tensor | None = None,
    *,
    mask_pad: Tensor | None = None,
    reset: Tensor | None = None,
    h_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    states: States = mingru_states,
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.mingru_recurrence` step by step; shapes and dtypes are there.

    Concatenated sequences are treated as one sequence whose state is replaced where the next one begins.
    """
    storage, dtype = u.dtype, accumulate_dtype(u.dtype)
    u = u.to(dtype)
    if mask_pad is not None:
        u = u.masked_fill(mask_pad[:, :, None, None], 0.0)
    u_h, u_z = u.unbind(2)
    if mask_pad is not None:
        # A gate of exactly 0 carries the state over a padded step unchanged.
        u_z = u_z.masked_fill(mask_pad[:, :, None], -torch.inf)
    total, batch, columns = u_h.shape
    rows = batch if cu_seqlens is None else cu_seqlens.shape[0] - 1
    h0 = u_h.new_zeros(rows, columns) if h0 is None else h0.to(dtype)
    begin: tuple[Tensor, ...] = (h0,)
    if cu_seqlens is not None:
        starts = pieces.starts(pieces.sequence_marks(cu_seqlens, total), False)
        initial = h0[pieces.sequence_numbers(cu_seqlens, total)].unsqueeze(1)
        begin = u_h.new_zeros(1, columns), starts, initial
    elif reset is not None:
        starts = reset if mask_pad is None else reset & ~mask_pad
        begin = h0, starts, u_h.new_zeros(columns) if h_reset is None else h_reset.to(dtype)
    h, last = states(u_h, u_z, *begin)
    if cu_seqlens is not None:
        last = pieces.last_states(h, h0, cu_seqlens)
    if mask_pad is not None:
        h = h.masked_fill(mask_pad[:, :, None], 0.0)
    return h.to(storage), last
