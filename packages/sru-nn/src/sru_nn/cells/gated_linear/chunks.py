"""The gated linear recurrence by chunks of time, in plain PyTorch.

`meet` computes A from the queries, keys and gates of a chunk, and moves its queries to its start and its keys
to its end. The rest is matrix products with the values and the state S before the chunk:

    O = A V + Q S        S' = diag(Π g) S + Kᵀ V

Each iteration processes several short chunks, as many as fit in the caches. All tensors keep their memory
order, time before batch and heads; the matrix products read them with strides.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sru_nn.cells.gated_linear.meet import Memory, by_head, by_time, meet

CHUNK = 32
# Elements of an array per iteration. On a CPU a few such arrays should fit in the L2 cache.
_CPU_SIZE, _OTHER_SIZE = 1 << 16, 1 << 24


class Inputs(NamedTuple):
    """The inputs of the forward pass, in the order of its schema; the backward pass does not read `s0`."""

    q: Tensor
    k: Tensor
    v: Tensor
    log_g: Tensor
    s0: Tensor | None = None


def count_chunks(length: int) -> int:
    """Return the number of chunks; the length may be a symbol, as in a graph for all lengths."""
    return (length + CHUNK - 1) // CHUNK


def _turns(q: Tensor, v: Tensor) -> tuple[int, list[slice]]:
    """Return the steps per chunk and a slice per iteration. A single chunk may be shorter, a power of two."""
    length, batch, heads, key_size = q.shape
    chunk = min(CHUNK, 1 << max(length - 1, 0).bit_length())
    if q.numel() == 0 or v.numel() == 0:
        return chunk, []  # o and the gradients are zeros
    size = _CPU_SIZE if q.device.type == "cpu" else _OTHER_SIZE
    steps = CHUNK * max(1, size // (CHUNK * batch * heads * max(key_size, v.shape[-1])))
    return chunk, [slice(first, first + steps) for first in range(0, length, steps)]


def _in_chunks(x: Tensor, chunk: int, name: str, memory: Memory, *, copy: bool = True) -> Tensor:
    """Return `(t, B, H, K)` as `(chunks, chunk, B·H, K)` in the accumulation dtype.

    A view if possible, otherwise a copy padded with zeros; uninitialised with `copy=False`.
    """
    length, batch, heads, size = x.shape
    if x.dtype == memory.like.dtype and length % chunk == 0 and x.is_contiguous():
        return x.view(-1, chunk, batch * heads, size)
    count = -(-length // chunk)
    out = memory(name, count * chunk, batch, heads, size)
    if copy:
        out[:length].copy_(x)
        out[length:].zero_()
    return out.view(count, chunk, batch * heads, size)


def forward(inputs: Inputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return `o`, the last state and, with `save`, the states before each chunk."""
    q, k, v, log_g, s0 = inputs
    chunk, slices = _turns(q, v)
    length, batch, heads, key_size = q.shape
    value_size = v.shape[-1]
    memory = Memory(q)
    make = q.new_empty if slices else q.new_zeros
    o = make(length, batch, heads, value_size)
    state = q.new_empty(batch * heads, key_size, value_size, dtype=memory.like.dtype)
    state.zero_() if s0 is None else state.view_as(s0).copy_(s0)
    starts = state.new_empty(count_chunks(length) if save else 0, *state.shape)
    for now in slices:
        pieces = [_in_chunks(x[now], chunk, f"input {i}", memory) for i, x in enumerate((q, k, v, log_g))]
        count, before, values = len(pieces[0]), starts[now.start // CHUNK :], by_head(pieces[2])
        met = meet(pieces[0], pieces[1], pieces[3], memory)
        y = torch.bmm(met.a, values, out=memory("y", *values.shape))
        gates, keys = met.gates[:, 0].unsqueeze(-1), by_head(met.k).transpose(1, 2)
        parts = [torch.unflatten(x, 0, (count, -1)).unbind(0) for x in (y, by_head(met.q), keys, values)]
        for i, (y_now, q_now, k_now, values_now) in enumerate(zip(*parts, strict=True)):
            if save:
                before[i] = state
            y_now.baddbmm_(q_now, state)
            state.mul_(gates[i]).baddbmm_(k_now, values_now)
        o_now = o[now]
        o_now.copy_(by_time(y, count).flatten(0, 1)[: len(o_now)].view_as(o_now))
    return o, state.view(batch, heads, key_size, value_size), starts


def backward(
    inputs: Inputs, starts: Tensor, grad_o: Tensor | None, grad_s: Tensor | None
) -> tuple[Tensor, ...]:
    """Return the gradients of `q`, `k`, `v`, `log_g` and the first state."""
    q, k, v, log_g, _ = inputs
    chunk, slices = _turns(q, v)
    _, batch, heads, key_size = q.shape
    memory = Memory(q)
    results = [(x.new_empty if slices else x.new_zeros)(x.shape) for x in (q, k, v, log_g)]
    grad_state = starts.new_empty(batch * heads, key_size, v.shape[-1])
    grad_state.zero_() if grad_s is None else grad_state.view_as(grad_s).copy_(grad_s)
    if grad_o is None:
        grad_o = v.new_zeros(()).expand(v.shape)
    for now in reversed(slices):
        outs = [x[now] for x in results]
        found = [_in_chunks(x, chunk, f"result {i}", memory, copy=False) for i, x in enumerate(outs)]
        given = enumerate((q, k, v, log_g, grad_o))
        pieces = [_in_chunks(x[now], chunk, f"input {i}", memory) for i, x in given]
        _differentiate(pieces, starts[now.start // CHUNK :], grad_state, found, memory)
        for mine, out in zip(found, outs, strict=True):
            if mine.data_ptr() != out.data_ptr():  # it was not written in place
                out.copy_(mine.flatten(0, 1)[: len(out)].view_as(out))
    return *results, grad_state.view(batch, heads, key_size, v.shape[-1])


def _differentiate(
    inputs: list[Tensor], before: Tensor, grad_state: Tensor, results: list[Tensor], memory: Memory
) -> None:
    """Compute the gradients of chunks from the states `before` them; update `grad_state` to their start."""
    q, k, v, log_g, grad_y = inputs
    met = meet(q, k, log_g, memory)
    heads, values, grads = len(grad_state), by_head(v), by_head(grad_y)
    parts = [slice(i * heads, (i + 1) * heads) for i in range(len(q))]
    queries, keys, gates = by_head(met.q), by_head(met.k), met.gates[:, 0].unsqueeze(-1)

    grad_q, grad_k = (memory(f"{name} by head", *queries.shape) for name in ("grad_q", "grad_k"))
    grad_v = torch.bmm(met.a.transpose(1, 2), grads, out=memory("y", *values.shape))
    grad_a = torch.bmm(grads, values.transpose(1, 2), out=met.a)
    grad_gates = memory("grad_gates", *met.gates.shape)
    product = memory("state", *grad_state.shape)
    for i, now in reversed(list(enumerate(parts))):
        torch.bmm(grads[now], before[i].transpose(1, 2), out=grad_q[now])
        torch.bmm(values[now], grad_state.transpose(1, 2), out=grad_k[now])
        grad_v[now].baddbmm_(keys[now], grad_state)
        grad_state.mul_(gates[i])
        torch.sum(torch.mul(grad_state, before[i], out=product), -1, out=grad_gates[i, 0])
        grad_state.baddbmm_(queries[now].transpose(1, 2), grads[now])
    results[2].copy_(by_time(grad_v, len(q)))
    met.differentiate(grad_a, grad_q, grad_k, grad_gates, (results[0], results[1], results[3]))
