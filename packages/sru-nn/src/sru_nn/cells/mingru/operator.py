"""The recurrence of the minimal GRU in parallel over time, and by the operator of the SRU.

The arguments have been checked by `sru_nn.functional`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sru_nn import backend, reference
from sru_nn.cells.sru import operator as sru
from sru_nn.linear_scan import linear_scan
from sru_nn.reference import accumulate_dtype

# σ of it is exactly 1, also in float64.
_OPEN = 100.0
# Numbers of states on a CPU from which on a step of the loop is bound by memory, and neither the kernels, for
# which there is more to read, nor a scan, which reads it several times, is faster: without gradients and
# with them.
_WIDE, _WIDE_FOR_A_SCAN = (8192, 65536), (1024, 2048)


def mingru_recurrence(u: Tensor, h0: Tensor | None, *, mask_pad: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.mingru_recurrence` in the way that is fastest here."""
    if torch.compiler.is_compiling():
        return by_sru(u, h0, mask_pad=mask_pad)  # the loop would be unrolled in the graph
    states, on_cpu = u.shape[1] * u.shape[3], u.device.type == "cpu"
    learns = torch.is_grad_enabled() and u.requires_grad
    if u.shape[0] <= 1 or (on_cpu and states >= _WIDE[learns]):
        return reference.mingru_recurrence(u, h0, mask_pad=mask_pad)
    if backend.active(u.device) == "kernels":
        return by_sru(u, h0, mask_pad=mask_pad)
    if on_cpu and states > _WIDE_FOR_A_SCAN[learns]:
        return reference.mingru_recurrence(u, h0, mask_pad=mask_pad)
    return by_scan(u, h0, mask_pad=mask_pad)


def by_scan(u: Tensor, h0: Tensor | None, *, mask_pad: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.mingru_recurrence` by a linear scan."""
    storage, dtype = u.dtype, accumulate_dtype(u.dtype)
    if u.numel() == 0:
        last = u.new_zeros(u.shape[1], u.shape[3], dtype=dtype) if h0 is None else h0.to(dtype)
        return u[:, :, 0], last
    u = u.to(dtype)
    if mask_pad is not None:
        u = u.masked_fill(mask_pad[:, :, None, None], 0.0)
    u_h, u_z = u.unbind(2)
    if mask_pad is not None:
        u_z = u_z.masked_fill(mask_pad[:, :, None], -torch.inf)
    keep, write = torch.sigmoid(-u_z), torch.sigmoid(u_z) * u_h
    if h0 is not None:
        write = torch.cat([torch.addcmul(write[:1], keep[:1], h0.to(dtype)), write[1:]])
    h = linear_scan(keep, write)
    last = h[-1]
    if mask_pad is not None:
        h = h.masked_fill(mask_pad[:, :, None], 0.0)
    return h.to(storage), last


def by_sru(u: Tensor, h0: Tensor | None, *, mask_pad: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute it as an SRU whose gates do not see the state, with f = 1 − z and an output gate of one."""
    u_h, u_z = u.unbind(2)
    dtype, size = accumulate_dtype(u.dtype), u.shape[-1]
    bias = torch.tensor([[0.0], [_OPEN]], dtype=dtype, device=u.device).expand(2, size)
    return sru.sru_recurrence(
        torch.stack([u_h, -u_z, torch.zeros_like(u_z)], 2),
        torch.zeros_like(bias),
        bias,
        h0,
        x=None,
        bidirectional=False,
        activation="identity",
        scale_x=1.0,
        mask_c=None,
        mask_pad=mask_pad,
    )
