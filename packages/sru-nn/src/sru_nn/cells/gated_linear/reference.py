"""The gated linear recurrence in plain PyTorch, the oracle its kernels are tested against.

Written from the papers, with autograd for the gradients. Nothing here calls a kernel or checks an argument.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sru_nn.dtypes import accumulate_dtype


def gated_linear_recurrence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_g: Tensor,
    s0: Tensor | None = None,
    *,
    mask_pad: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.gated_linear_recurrence` (shapes and dtypes are there) step by step."""
    storage, dtype = q.dtype, accumulate_dtype(q.dtype)
    q, k, v, log_g = (tensor.to(dtype) for tensor in (q, k, v, log_g))
    if mask_pad is not None:
        q, k, v, log_g = without_padding(mask_pad, q, k, v, log_g)
    s = q.new_zeros(*k.shape[1:], v.shape[-1]) if s0 is None else s0.to(dtype)
    outputs = []
    for q_t, k_t, v_t, g_t in zip(q.unbind(0), k.unbind(0), v.unbind(0), log_g.exp().unbind(0), strict=True):
        s = g_t.unsqueeze(-1) * s + k_t.unsqueeze(-1) * v_t.unsqueeze(-2)
        outputs.append((q_t.unsqueeze(-2) @ s).squeeze(-2))
    o = torch.stack(outputs) if outputs else v
    return o.to(storage), s


def without_padding(mask_pad: Tensor, *tensors: Tensor) -> list[Tensor]:
    """Set queries, keys, values and the logarithms of gates to zero at padded positions."""
    return [tensor.masked_fill(mask_pad[:, :, None, None], 0.0) for tensor in tensors]
