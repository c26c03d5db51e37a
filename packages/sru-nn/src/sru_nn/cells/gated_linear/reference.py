"""The gated linear recurrence in plain PyTorch, the oracle its kernels are tested against.

Written from the papers, with autograd for the gradients. Nothing here calls a kernel or checks an argument.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sru_nn.dtypes import accumulate_dtype
from sru_nn.pieces import last_states, sequence_marks, sequence_numbers, starts


def gated_linear_recurrence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_g: Tensor,
    s0: Tensor | None = None,
    *,
    mask_pad: Tensor | None = None,
    reset: Tensor | None = None,
    s_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.gated_linear_recurrence` step by step; shapes and dtypes are there."""
    storage, dtype = q.dtype, accumulate_dtype(q.dtype)
    q, k, v, log_g = (tensor.to(dtype) for tensor in (q, k, v, log_g))
    if mask_pad is not None:
        q, k, v, log_g = without_padding(mask_pad, q, k, v, log_g)
        reset = None if reset is None else reset & ~mask_pad
    sequences = q.shape[1] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    s = q.new_zeros(sequences, *k.shape[2:], v.shape[-1]) if s0 is None else s0.to(dtype)
    if cu_seqlens is not None:
        # One sequence with a reset at each first position, so that no shape depends on the lengths.
        reset = starts(sequence_marks(cu_seqlens, len(q)), False)
        firsts = s[sequence_numbers(cu_seqlens, len(q))].unsqueeze(1).unbind(0)
        o, states = _walk(q, k, v, log_g, s.new_zeros(1, *s.shape[1:]), reset, firsts)
        return o.to(storage), last_states(torch.stack(states)[1:], s, cu_seqlens)
    first = s.new_zeros(()) if s_reset is None else s_reset.to(dtype)
    o, states = _walk(q, k, v, log_g, s, reset, [first] * len(q))
    return o.to(storage), states[-1]


def _walk(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_g: Tensor,
    s: Tensor,
    reset: Tensor | None,
    firsts: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """Return the outputs, and the states before the first step and after each.

    Where `reset` `(T, B)` is True, the step starts from the state in `firsts` instead.
    """
    outputs, states = [], [s]
    steps = zip(q.unbind(0), k.unbind(0), v.unbind(0), log_g.exp().unbind(0), strict=True)
    for t, (q_t, k_t, v_t, g_t) in enumerate(steps):
        if reset is not None:
            s = torch.where(reset[t, :, None, None, None], firsts[t], s)
        s = g_t.unsqueeze(-1) * s + k_t.unsqueeze(-1) * v_t.unsqueeze(-2)
        outputs.append((q_t.unsqueeze(-2) @ s).squeeze(-2))
        states.append(s)
    return torch.stack(outputs) if outputs else v, states


def without_padding(mask_pad: Tensor, *tensors: Tensor) -> list[Tensor]:
    """Set queries, keys, values and the logarithms of gates to zero at padded positions."""
    return [tensor.masked_fill(mask_pad[:, :, None, None], 0.0) for tensor in tensors]
