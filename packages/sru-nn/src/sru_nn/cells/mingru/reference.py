"""The recurrence of the minimal GRU in plain PyTorch, the oracle of its faster forms.

Written from the paper, with autograd for the gradients. Nothing here calls a kernel or checks an argument.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sru_nn.dtypes import accumulate_dtype

States = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def mingru_states(u_h: Tensor, u_z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Walk over time: h_t = (1 − z_t) ⊙ h_{t-1} + z_t ⊙ u_h with z_t = σ(u_z).

    Args:
        u_h: `(T, B, D)`.
        u_z: `(T, B, D)`; minus infinity where the state passes unchanged.
        h: `(B, D)`, the state before the first step.

    Returns:
        `h`: `(T, B, D)`, the states after each step.
        `h_last`: `(B, D)`, the state after the last step.
    """
    states = []
    for u_h_t, z_t in zip(u_h.unbind(0), torch.sigmoid(u_z).unbind(0), strict=True):
        h = torch.lerp(h, u_h_t, z_t)  # (1 − z) ⊙ h + z ⊙ u_h
        states.append(h)
    return torch.stack(states) if states else u_h, h


def mingru_recurrence(
    u: Tensor, h0: Tensor | None = None, *, mask_pad: Tensor | None = None, states: States = mingru_states
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.mingru_recurrence` (shapes and dtypes are there) step by step."""
    storage, dtype = u.dtype, accumulate_dtype(u.dtype)
    u = u.to(dtype)
    if mask_pad is not None:
        u = u.masked_fill(mask_pad[:, :, None, None], 0.0)
    u_h, u_z = u.unbind(2)
    if mask_pad is not None:
        # A gate of exactly 0 carries the state over a padded step unchanged.
        u_z = u_z.masked_fill(mask_pad[:, :, None], -torch.inf)
    h = u_h.new_zeros(u_h.shape[1:]) if h0 is None else h0.to(dtype)
    h, last = states(u_h, u_z, h)
    if mask_pad is not None:
        h = h.masked_fill(mask_pad[:, :, None], 0.0)
    return h.to(storage), last
