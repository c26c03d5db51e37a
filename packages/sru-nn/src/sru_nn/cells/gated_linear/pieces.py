"""The gated linear recurrence over sequences that begin within a row, or lie end to end.

These are the operators `sru_nn::gated_linear_pieces_forward` and `_backward`, on any device; padding has been
taken out before. Both save the states before each chunk. Where sequences lie end to end, chunk j of sequence s
has place `cu_seqlens[s] // CHUNK + s + j`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_nn import backend
from sru_nn.cells.gated_linear import chunks, reference
from sru_nn.dtypes import accumulate_dtype
from sru_nn.linear_scan import linear_scan, shifted
from sru_nn.operators import Passes, Recurrence, by_reference
from sru_nn.pieces import lay_end_to_end, pad_out, starts


class PieceInputs(NamedTuple):
    """What both operators read, in the order of their schemas; shapes as for `gated_linear_recurrence`."""

    q: Tensor
    k: Tensor
    v: Tensor
    log_g: Tensor
    s0: Tensor | None = None
    s_reset: Tensor | None = None
    marks: Tensor | None = None
    cu_seqlens: Tensor | None = None


def run(chosen: backend.Backend | None, inputs: PieceInputs) -> tuple[Tensor, Tensor]:
    """Run the operators on a backend, or on the one they choose if None."""
    return _OPERATORS(chosen, inputs)


def _results(inputs: PieceInputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    q, v, cu_seqlens = inputs.q, inputs.v, inputs.cu_seqlens
    length, batch, heads, key_size = q.shape
    sequences, count = batch, chunks.count_chunks(length)
    if cu_seqlens is not None:
        sequences = cu_seqlens.shape[0] - 1
        count = length // chunks.CHUNK + sequences
    s = q.new_empty(sequences, heads, key_size, v.shape[-1], dtype=accumulate_dtype(q.dtype))
    return q.new_empty(v.shape), s, s.new_empty(count if save else 0, batch * heads, key_size, v.shape[-1])


def _gradients(inputs: PieceInputs, *_: Any) -> tuple[Tensor, ...]:
    s, s_reset = _results(inputs, False)[1], inputs.s_reset
    grad_s_reset = s.new_empty(0) if s_reset is None else s.new_empty(s_reset.shape)
    return *(x.new_empty(x.shape) for x in inputs[:4]), s, grad_s_reset


def _forward(inputs: PieceInputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Run chunks, in which a gate of zero forgets all that came before a start.

    What `s_reset` adds to that is linear: diag(d_t) s_reset to the state, with d_t = g_t at a start, else
    g_t ⊙ d_{t-1}, and zero before the first.
    """
    q, k, v, log_g, s0, s_reset, _, cu_seqlens = inputs
    if cu_seqlens is not None:
        padded, _ = pad_out(cu_seqlens, q, k, v, log_g)
        o, s, states = chunks.forward(chunks.Inputs(*padded, s0), save)
        if save:
            states = _lay_states(states, cu_seqlens, q, len(padded[0]))
        return lay_end_to_end(o, cu_seqlens), s, states
    o, s, states = chunks.forward(_shut(inputs), save)
    if s_reset is not None:
        d = _decay(inputs)[1]
        o += torch.einsum("tbhk,hkv->tbhv", q * d, s_reset)
        s += (d[-1:].unsqueeze(-1) * s_reset).sum(0)
        if save:
            states += _added(d, s_reset)
    return o, s, states


def _backward(
    inputs: PieceInputs, states: Tensor, grad_o: Tensor | None, grad_s: Tensor | None
) -> tuple[Tensor, ...]:
    q, k, v, log_g, _, s_reset, _, cu_seqlens = inputs
    grad_s_reset = states.new_zeros(0 if s_reset is None else s_reset.shape)
    if cu_seqlens is not None:
        given = (q, k, v, log_g) if grad_o is None else (q, k, v, log_g, grad_o)
        padded, _ = pad_out(cu_seqlens, *given)
        states = _pad_states(states, cu_seqlens, len(padded[0]))
        grad_o = None if grad_o is None else padded[4]
        *found, grad_s0 = chunks.backward(chunks.Inputs(*padded[:4]), states, grad_o, grad_s)
        return *(lay_end_to_end(grad, cu_seqlens) for grad in found), grad_s0, grad_s_reset
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


def _starts(inputs: PieceInputs) -> Tensor:
    """Return `(T, B, 1, 1)`, True where a sequence begins."""
    q, marks = inputs.q, inputs.marks
    found = q.new_zeros(q.shape[:2], dtype=torch.bool) if marks is None else starts(marks, False)
    return found[:, :, None, None]


def _shut(inputs: PieceInputs) -> chunks.Inputs:
    q, k, v, log_g, s0, *_ = inputs
    return chunks.Inputs(q, k, v, log_g.masked_fill(_starts(inputs), -torch.inf), s0)


def _decay(inputs: PieceInputs) -> tuple[Tensor, Tensor]:
    """Return the gates, zero at starts, and d; both `(T, B, H, K)`."""
    gates = inputs.log_g.exp()
    shut = gates.masked_fill(_starts(inputs), 0.0)
    return shut, linear_scan(shut, gates - shut)


def _added(d: Tensor, s_reset: Tensor) -> Tensor:
    """Return what `s_reset` adds to the states before each chunk, `(chunks, B·H, K, V)`."""
    return (shifted(d, False)[:: chunks.CHUNK].unsqueeze(-1) * s_reset).flatten(1, 2)


def _places(cu_seqlens: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Return the places of chunks `(chunks, S)` of sequences padded to this length, and which there are."""
    steps = torch.arange(0, length, chunks.CHUNK, device=cu_seqlens.device).unsqueeze(1)
    first = cu_seqlens[:-1] // chunks.CHUNK + torch.arange(len(cu_seqlens) - 1, device=cu_seqlens.device)
    return first + steps // chunks.CHUNK, steps < cu_seqlens.diff()


def _lay_states(padded: Tensor, cu_seqlens: Tensor, q: Tensor, length: int) -> Tensor:
    """Bring states `(chunks, S·H, K, V)` of sequences padded to this length into the layout of the results."""
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


_INPUTS = (
    "Tensor q, Tensor k, Tensor v, Tensor log_g, Tensor? s0, Tensor? s_reset, Tensor? marks, "
    "Tensor? cu_seqlens"
)
_OPERATORS = Recurrence(
    "gated_linear_pieces",
    PieceInputs,
    (
        f"({_INPUTS}, bool save) -> (Tensor o, Tensor s, Tensor starts)",
        f"({_INPUTS}, Tensor starts, Tensor? grad_o, Tensor? grad_s) -> (Tensor grad_q, Tensor grad_k, "
        "Tensor grad_v, Tensor grad_log_g, Tensor grad_s0, Tensor grad_s_reset)",
    ),
    kernels=Passes(_forward, _backward),
    plain=Passes(_forward, _backward),
    results=Passes(_results, _gradients),
    choose=lambda inputs: "reference",
    differentiate_twice=by_reference(
        lambda given: reference.gated_linear_recurrence(
            *given[:5],
            reset=_starts(given)[:, :, 0, 0],
            s_reset=given.s_reset,
            cu_seqlens=given.cu_seqlens,
        )
    ),
)
