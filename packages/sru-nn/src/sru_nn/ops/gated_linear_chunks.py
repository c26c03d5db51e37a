"""The gated linear recurrence by chunks of time, in plain PyTorch.

With A from the queries, keys and gates of a chunk (`gated_linear_meet`), with its queries brought to its
start and its keys to its end, all the rest is matrix products with the values and the state S before it:

    O = A V + Q S        S' = diag(Π g) S + Kᵀ V

Several chunks are done in a turn, as many as the caches hold; what they leave to the next is the state.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sru_nn.ops.gated_linear_meet import Memory, meet

CHUNK = 32
# Numbers of an array that is worked on in a turn. On a CPU a few of them should fit in the caches.
_CPU_SIZE, _OTHER_SIZE = 1 << 20, 1 << 24


def turns(q: Tensor, v: Tensor) -> tuple[int, int]:
    """Return how many steps of `(T, B, H, K)` and `(T, B, H, V)` a turn has, and how many turns there are.

    The sizes may be symbols, as in a graph for all lengths.
    """
    length, batch, heads, key_size = q.shape
    size = _CPU_SIZE if q.device.type == "cpu" else _OTHER_SIZE
    larger = torch.sym_max
    step = larger(1, batch * heads * larger(key_size, v.shape[-1]))  # type: ignore[no-untyped-call]
    steps = CHUNK * larger(1, size // (CHUNK * step))  # type: ignore[no-untyped-call]
    return steps, (length + steps - 1) // steps


def _turns(q: Tensor, v: Tensor) -> tuple[int, list[slice]]:
    """Return the steps of a chunk, a power of two, and the steps of each turn."""
    steps, count = turns(q, v)
    chunk = min(CHUNK, 1 << max(len(q) - 1, 0).bit_length())
    if q.numel() == 0 or v.numel() == 0:
        count = 0  # o and the gradients are zeros
    return chunk, [slice(turn * steps, (turn + 1) * steps) for turn in range(count)]


def _gather(name: str, x: Tensor, chunk: int, memory: Memory) -> Tensor:
    """Bring `(t, B, H, K)` to the accumulation dtype and `(chunks·B·H, chunk, K)`, zeros at the end."""
    length, batch, heads, size = x.shape
    count, whole = -(-length // chunk), length // chunk
    out = memory(name, count, batch, heads, chunk, size)
    out[:whole].copy_(_in_chunks(x[: whole * chunk], chunk))
    if count > whole:
        rest = length - whole * chunk
        out[whole, :, :, :rest].copy_(x[whole * chunk :].permute(1, 2, 0, 3))
        out[whole, :, :, rest:].zero_()
    return out.flatten(0, 2)


def _in_chunks(x: Tensor, chunk: int) -> Tensor:
    return torch.unflatten(x, 0, (x.shape[0] // chunk, chunk)).permute(0, 2, 3, 1, 4)


def _scatter(y: Tensor, out: Tensor, chunk: int) -> None:
    """Take the way of `_gather` back."""
    length, batch, heads, _ = out.shape
    y, whole = torch.unflatten(y, 0, (-1, batch, heads)), length // chunk
    _in_chunks(out[: whole * chunk], chunk).copy_(y[:whole])
    if len(y) > whole:
        out[whole * chunk :].permute(1, 2, 0, 3).copy_(y[whole, :, :, : length - whole * chunk])


def forward(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `o`, the last state, and with `save` the states that the turns began with."""
    chunk, slices = _turns(q, v)
    length, batch, heads, key_size = q.shape
    value_size = v.shape[-1]
    memory = Memory(q)
    make = q.new_empty if slices else q.new_zeros
    o = make(length, batch, heads, value_size)
    state = memory("state", batch * heads, key_size, value_size)
    state.zero_() if s0 is None else state.view_as(s0).copy_(s0)
    starts = state.new_empty(turns(q, v)[1] if save else 0, *state.shape)
    for turn, now in enumerate(slices):
        if save:
            starts[turn] = state
        _forward(q[now], k[now], v[now], log_g[now], state, o[now], chunk, memory)
    return o, state.view(batch, heads, key_size, value_size).clone(), starts


def _forward(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, state: Tensor, o: Tensor, chunk: int, memory: Memory
) -> None:
    """Do some chunks, and leave the state after them in `state`."""
    q, k, v, log_g = (
        _gather(name, x, chunk, memory) for name, x in (("q", q), ("k", k), ("v", v), ("log_g", log_g))
    )
    met = meet(q, k, log_g, memory)
    y = torch.bmm(met.a, v, out=memory("y", *v.shape))
    states = torch.bmm(met.k.transpose(1, 2), v, out=memory("states", len(v), k.shape[-1], v.shape[-1]))
    first = len(state)
    y[:first].baddbmm_(met.q[:first], state)
    _walk(states, met.gates, state)
    y[first:].baddbmm_(met.q[first:], states[:-first])
    state.copy_(states[-first:])
    _scatter(y, o, chunk)


def _walk(states: Tensor, gates: Tensor, state: Tensor, reverse: bool = False) -> None:
    """Add to what each chunk writes what it keeps of the state before it."""
    chunks = states.view(-1, *state.shape)
    parts = list(zip(chunks.unbind(0), gates.reshape(*chunks.shape[:3], 1).unbind(0), strict=True))
    for part, kept in reversed(parts) if reverse else parts:
        state = part.addcmul_(kept, state)


def backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_g: Tensor,
    starts: Tensor,
    grad_o: Tensor | None,
    grad_s: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of `q`, `k`, `v`, `log_g` and the first state."""
    chunk, slices = _turns(q, v)
    _, batch, heads, key_size = q.shape
    memory = Memory(q)
    results = [(x.new_empty if slices else x.new_zeros)(x.shape) for x in (q, k, v, log_g)]
    grad_state = memory("grad_state", batch * heads, key_size, v.shape[-1])
    grad_state.zero_() if grad_s is None else grad_state.view_as(grad_s).copy_(grad_s)
    if grad_o is None:
        grad_o = v.new_zeros(()).expand(v.shape)
    for turn, now in reversed(list(enumerate(slices))):
        inputs = [x[now] for x in (q, k, v, log_g, grad_o)]
        _backward(inputs, starts[turn], grad_state, [x[now] for x in results], chunk, memory)
    grad_q, grad_k, grad_v, grad_log_g = results
    return grad_q, grad_k, grad_v, grad_log_g, grad_state.view(batch, heads, key_size, v.shape[-1]).clone()


def _backward(
    inputs: list[Tensor], state: Tensor, grad_state: Tensor, results: list[Tensor], chunk: int, memory: Memory
) -> None:
    """Do some chunks, and leave the gradient of the state before them in `grad_state`."""
    names = ("q", "k", "v", "log_g", "grad_y")
    q, k, v, log_g, grad_y = (_gather(name, x, chunk, memory) for name, x in zip(names, inputs, strict=True))
    p, first = len(q), len(state)
    met = meet(q, k, log_g, memory)

    # The states before each chunk, and the gradients of those after each.
    before, after = (memory(name, p + first, k.shape[-1], v.shape[-1]) for name in ("before", "after"))
    before[:first], after[p:] = state, grad_state
    torch.bmm(met.k.transpose(1, 2), v, out=before[first:])
    _walk(before[first:], met.gates, state)
    torch.bmm(met.q.transpose(1, 2), grad_y, out=after[:p])
    _walk(after[:p], met.gates, grad_state, reverse=True)
    grad_state.copy_(after[:first])
    before, after = before[:p], after[first:]

    grad_v = torch.bmm(met.a.transpose(1, 2), grad_y, out=memory("y", *v.shape)).baddbmm_(met.k, after)
    grad_a = torch.bmm(grad_y, v.transpose(1, 2), out=met.a)
    grad_q = torch.bmm(grad_y, before.transpose(1, 2), out=memory("grad_q", *q.shape))
    grad_k = torch.bmm(v, after.transpose(1, 2), out=memory("grad_k", *k.shape))
    grad_gates = met.gates * before.mul_(after).sum(-1)
    grad_g = met.differentiate(grad_a, grad_q, grad_k, grad_gates)
    for y, out in zip((grad_q, grad_k, grad_v, grad_g), results, strict=True):
        _scatter(y, out, chunk)
