"""The recurrence of the minimal GRU: a loop, a parallel scan over time, or the operators of the SRU.

The arguments have already been checked by `arguments.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from sru_nn import backend
from sru_nn.cells.mingru import reference
from sru_nn.cells.sru import operator as sru
from sru_nn.dtypes import accumulate_dtype
from sru_nn.linear_scan import linear_scan
from sru_nn.operators import is_recorded, is_transformed
from sru_nn.pieces import lay_end_to_end, pad_out

# Its sigmoid is exactly 1, even in float64.
_OPEN = 100.0
# Numbers of states on a CPU, without and with gradients, above which a step of the loop is memory-bound. Then
# neither the kernels, which read more, nor a scan, which reads everything several times, is faster.
_WIDE, _WIDE_FOR_A_SCAN = (8192, 65536), (1024, 2048)


def mingru_recurrence(
    u: Tensor,
    h0: Tensor | None,
    *,
    mask_pad: Tensor | None,
    reset: Tensor | None,
    h_reset: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.mingru_recurrence` in the fastest way available."""
    chosen: backend.Backend | None = None if is_recorded() else backend.active(u.device)
    if reset is None and cu_seqlens is None:
        return _fastest(u, chosen)(u, h0, mask_pad=mask_pad)
    if not is_transformed() and chosen != "reference":
        return by_sru(
            u, h0, chosen=chosen, mask_pad=mask_pad, reset=reset, h_reset=h_reset, cu_seqlens=cu_seqlens
        )
    if cu_seqlens is None or is_transformed():
        # Not a scan: it multiplies the state before a start by zero, and that state may be NaN.
        return reference.mingru_recurrence(
            u, h0, mask_pad=mask_pad, reset=reset, h_reset=h_reset, cu_seqlens=cu_seqlens
        )
    (u,), mask_pad = pad_out(cu_seqlens, u)
    h, last = _fastest(u, chosen)(u, h0, mask_pad=mask_pad)
    return lay_end_to_end(h, cu_seqlens), last


def _fastest(u: Tensor, chosen: backend.Backend | None) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return the fastest implementation for rows that hold one sequence each; `chosen` is None in a graph."""
    if (chosen is not None and u.shape[0] <= 1) or is_transformed():
        return reference.mingru_recurrence
    if chosen is None:
        return partial(by_sru, chosen=None)  # a graph would unroll the loop
    learns = torch.is_grad_enabled() and u.requires_grad
    states = u.shape[1] * u.shape[3] if u.device.type == "cpu" else 0
    if states >= _WIDE[learns]:
        return reference.mingru_recurrence
    if chosen != "reference":
        return partial(by_sru, chosen=chosen)
    return reference.mingru_recurrence if states > _WIDE_FOR_A_SCAN[learns] else by_scan


def by_scan(u: Tensor, h0: Tensor | None, *, mask_pad: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.mingru_recurrence` with a linear scan."""
    return reference.mingru_recurrence(u, h0, mask_pad=mask_pad, states=_scan_states)


def _scan_states(u_h: Tensor, u_z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    keep, write = torch.sigmoid(-u_z), torch.sigmoid(u_z) * u_h
    write = torch.cat([torch.addcmul(write[:1], keep[:1], h), write[1:]])
    states = linear_scan(keep, write)
    return states, states[-1] if len(states) else h


def by_sru(
    u: Tensor,
    h0: Tensor | None,
    *,
    chosen: backend.Backend | None,
    mask_pad: Tensor | None,
    reset: Tensor | None = None,
    h_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the recurrence as an SRU with state-independent gates, f = 1 − z and an output gate of one.

    If `chosen` is None, the operators choose the backend.
    """
    u_h, u_z = u.unbind(2)
    # Created on the device: a CUDA graph cannot capture a copy from the host.
    bias = torch.arange(2, dtype=accumulate_dtype(u.dtype), device=u.device) * _OPEN
    bias = bias.unsqueeze(1).expand(2, u.shape[-1])
    gates = torch.stack([u_h, -u_z, torch.zeros_like(u_z)], 2)
    inputs = sru.Inputs(gates, torch.zeros_like(bias), bias, h0, mask_pad=mask_pad)
    return sru.run(chosen, inputs, reset, h_reset, cu_seqlens)
