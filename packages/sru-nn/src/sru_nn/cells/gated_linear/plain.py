"""The operators for pieces of the gated linear recurrence in plain PyTorch, in chunks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sru_nn.cells.gated_linear import chunks
from sru_nn.linear_scan import linear_scan, shifted
from sru_nn.pieces import lay_end_to_end, pad_out, starts


class PieceInputs(NamedTuple):
    """The inputs of both operators, in schema order; shapes as for `gated_linear_recurrence`."""

    q: Tensor
    k: Tensor
    v: Tensor
    log_g: Tensor
    s0: Tensor | None = None
    s_reset: Tensor | None = None
    marks: Tensor | None = None
    cu_seqlens: Tensor | None = None


def forward(inputs: PieceInputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return `o`, the last states, and with `save` the states before each chunk.

    A gate of zero forgets everything before a start. The contribution of `s_reset` is linear: it adds
    diag(d_t) s_reset to the state, with d_t = g_t at a start, otherwise g_t ⊙ d_{t-1}, and zero before the
    first start.
    """
    q, k, v, log_g, s0, s_reset, _, cu_seqlens = inputs
    if cu_seqlens is not None:
        padded, _ = pad_out(cu_seqlens, q, k, v, log_g)
        o, s, states = chunks.forward(chunks.Inputs(*padded)._replace(s0=s0), save)
        states = _lay_states(states, cu_seqlens, q, len(padded[0])) if save else states[:, : q.shape[2]]
        return lay_end_to_end(o, cu_seqlens), s, states
    o, s, states = chunks.forward(_shut(inputs), save)
    if s_reset is not None:
        d = _decay(inputs)[1]
        o += torch.einsum("tbhk,hkv->tbhv", q * d, s_reset)
        s += (d[-1:].unsqueeze(-1) * s_reset).sum(0)
        if save:
            states += _added(d, s_reset)
    return o, s, states


def backward(
    inputs: PieceInputs, states: Tensor, grad_o: Tensor | None, grad_s: Tensor | None
) -> tuple[Tensor, ...]:
    """Return the gradients of `q`, `k`, `v`, `log_g`, `s0` and `s_reset`."""
    q, k, v, log_g, _, s_reset, _, cu_seqlens = inputs
    grad_s_reset = states.new_zeros(0 if s_reset is None else s_reset.shape)
    if cu_seqlens is not None:
        given = (q, k, v, log_g) if grad_o is None else (q, k, v, log_g, grad_o)
        padded, _ = pad_out(cu_seqlens, *given)
        states = _pad_states(states, cu_seqlens, len(padded[0]))
        grad_o = None if grad_o is None else padded[4]
        *parts, grad_s0 = chunks.backward(chunks.Inputs(*padded[:4]), states, grad_o, grad_s)
        return *(lay_end_to_end(grad, cu_seqlens) for grad in parts), grad_s0, grad_s_reset
    if s_reset is None:
        return *chunks.backward(_shut(inputs), states, grad_o, grad_s), grad_s_reset
    gates, d = _decay(inputs)
    found = chunks.backward(_shut(inputs), states - _added(d, s_reset), grad_o, grad_s)
    grad_q, _, _, grad_log_g, _ = found
    grad_d = torch.zeros_like(d)
    if grad_o is not None:
        grad_o = grad_o.to(d.dtype)
        of_products = torch.einsum("tbhv,hkv->tbhk", grad_o, s_reset)
        grad_q += d * of_products
        grad_d += q * of_products
        grad_s_reset += torch.einsum("tbhk,tbhv->hkv", q * d, grad_o)
    if grad_s is not None:
        grad_d[-1:] += (grad_s * s_reset).sum(-1)
        grad_s_reset += (d[-1:].unsqueeze(-1) * grad_s).sum((0, 1))
    grad_log_g += d * linear_scan(shifted(gates, True), grad_d, reverse=True)
    return *found, grad_s_reset


def begins(inputs: PieceInputs) -> Tensor:
    """Return `(T, B)` bool, True where a sequence begins."""
    q, marks = inputs.q, inputs.marks
    return q.new_zeros(q.shape[:2], dtype=torch.bool) if marks is None else starts(marks, False)


def _shut(inputs: PieceInputs) -> chunks.Inputs:
    q, k, v, log_g, s0, *_ = inputs
    shut = begins(inputs)[:, :, None, None] & ~log_g.isnan()  # a gate of NaN stays NaN, as in the kernels
    return chunks.Inputs(q, k, v, log_g.masked_fill(shut, -torch.inf), s0)


def _decay(inputs: PieceInputs) -> tuple[Tensor, Tensor]:
    """Return the gates, zero at starts, and d; both `(T, B, H, K)`."""
    gates = inputs.log_g.exp()
    shut = gates.masked_fill(begins(inputs)[:, :, None, None], 0.0)
    return shut, linear_scan(shut, gates - shut)


def _added(d: Tensor, s_reset: Tensor) -> Tensor:
    """Return the contribution of `s_reset` to the states before each chunk, `(chunks, B·H, K, V)`."""
    return (shifted(d, False)[:: chunks.CHUNK].unsqueeze(-1) * s_reset).flatten(1, 2)


def _places(cu_seqlens: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Return the indices `(chunks, S)` of the chunks of sequences padded to `length`, and which exist."""
    steps = torch.arange(0, length, chunks.CHUNK, device=cu_seqlens.device).unsqueeze(1)
    first = cu_seqlens[:-1] // chunks.CHUNK + torch.arange(len(cu_seqlens) - 1, device=cu_seqlens.device)
    return first + steps // chunks.CHUNK, steps < cu_seqlens.diff()


def _lay_states(padded: Tensor, cu_seqlens: Tensor, q: Tensor, length: int) -> Tensor:
    """Concatenate the states `(chunks, S·H, K, V)` of sequences padded to `length`."""
    places, there = _places(cu_seqlens, length)
    states = padded.new_zeros(len(q) // chunks.CHUNK + places.shape[1], q.shape[2], *padded.shape[2:])
    states[places[there]] = padded.view(*places.shape, *states.shape[1:])[there]
    return states


def _pad_states(states: Tensor, cu_seqlens: Tensor, length: int) -> Tensor:
    """Undo `_lay_states`."""
    places, there = _places(cu_seqlens, length)
    padded = states.new_zeros(*places.shape, *states.shape[1:])
    padded[there] = states[places[there]]
    return padded.flatten(1, 2)
