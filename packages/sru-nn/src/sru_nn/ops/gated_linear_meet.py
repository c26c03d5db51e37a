"""The part of the gated linear recurrence that stays within a chunk, in two ways, with their gradients.

Of queries, keys and gates it makes

    A_ts = Σ_K q_t ⊙ Π_{r from s+1 to t} g_r ⊙ k_s     for s ≤ t, else 0

and brings the queries to the start of their chunk and the keys to its end:

    q_t ⊙ Π_{r up to t} g_r        k_s ⊙ Π_{r after s} g_r
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sru_nn.reference import accumulate_dtype


class Memory:
    """Memory by name, used again in each turn: on a CPU new memory costs more than what is written to it."""

    def __init__(self, like: Tensor) -> None:
        self._like = like.new_empty(0, dtype=accumulate_dtype(like.dtype))
        self._buffers: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Return a tensor of this shape, with anything in it."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = self._like.new_empty(size)
        return buffer[:size].view(shape)


class Met(NamedTuple):
    """What queries and keys have made of each other, in P chunks of C steps."""

    a: Tensor
    """`(P, C, C)`."""
    q: Tensor
    """`(P, C, K)`, from the start of the chunk."""
    k: Tensor
    """`(P, C, K)`, to its end."""
    gates: Tensor
    """`(P, K)`, the products of all gates of a chunk."""
    differentiate: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    """Takes the gradients of a, q, k and of the logarithm of the gates; makes of those of q and k, in place,
    the gradients of the queries and keys that were given, and returns that of the gates' logarithms."""


def meet(q: Tensor, k: Tensor, log_g: Tensor, memory: Memory) -> Met:
    """Let the queries and keys of each chunk meet. What is given may be overwritten.

    Args:
        q: `(P, C, K)`, in the accumulation dtype, with C a power of two.
        k: The same.
        log_g: The same.
        memory: Has what is returned until the next call.
    """
    if q.device.type == "cpu":
        # Elsewhere the question would have to wait for the answer.
        sums = add_up(memory("sums", *log_g.shape).copy_(log_g))
        if float(sums[:, -1].amin()) > 0.5 * math.log(torch.finfo(q.dtype).tiny):
            return _meet_at_the_start(q, k, sums, memory)
    return _meet_block_by_block(q, k, log_g, memory)


def add_up(x: Tensor, *, reverse: bool = False) -> Tensor:
    """Compute the cumulative sums of `(P, C, K)` over C, a power of two, in place; `reverse` from the end.

    Much faster than `torch.cumsum`, which is slow on a CPU along any axis but the last.
    """
    chunk, m = x.shape[1], 1
    while m < chunk:
        first, second = torch.unflatten(x, 1, (-1, 2, m)).unbind(2)
        if reverse:
            first += second[:, :, :1]
        else:
            second += first[:, :, -1:]
        m *= 2
    return x


def _meet_at_the_start(q: Tensor, k: Tensor, sums: Tensor, memory: Memory) -> Met:
    """Bring keys back to the start of their chunk too, by division: the gates' products have to allow it."""
    decay = sums.exp_()
    queries = torch.mul(q, decay, out=memory("queries", *q.shape))
    keys = torch.div(k, decay, out=memory("keys", *k.shape))
    a = torch.bmm(queries, keys.transpose(1, 2), out=memory("a", *q.shape[:2], q.shape[1])).tril_()
    gates = decay[:, -1]
    ends = torch.mul(keys, gates.unsqueeze(1), out=memory("ends", *k.shape))

    def differentiate(grad_a: Tensor, grad_q: Tensor, grad_k: Tensor, grad_gates: Tensor) -> Tensor:
        grad_a.tril_()
        product = memory("product", *q.shape)
        grad_gates = grad_gates + torch.mul(grad_k, ends, out=product).sum(1)
        grad_k.mul_(gates.unsqueeze(1)).baddbmm_(grad_a.transpose(1, 2), queries)
        grad_q.baddbmm_(grad_a, keys)
        grad_sums = torch.mul(grad_q, queries, out=product).addcmul_(grad_k, keys, value=-1)
        grad_sums[:, -1] += grad_gates
        grad_q.mul_(decay)
        grad_k.div_(decay)
        return add_up(grad_sums, reverse=True)

    return Met(a, queries, ends, gates, differentiate)


def _without_traces(x: Tensor) -> None:
    """Set to zero what is so small that a product of two would be subnormal, which takes processors long."""
    torch.ops.aten.hardshrink.out(x, math.sqrt(torch.finfo(x.dtype).tiny), out=x)


class _Level(NamedTuple):
    """Two blocks of m steps meeting; the steps of all such blocks of a chunk lie in a row."""

    m: int
    right: Tensor  # (P, C/2, K), queries of the later ones, from the starts of their blocks
    left: Tensor  # (P, C/2, K), keys of the earlier ones, to the ends of their blocks
    gates: Tensor  # (P, pairs, 2, K), the products of each block's gates


def _meet_block_by_block(q: Tensor, k: Tensor, log_g: Tensor, memory: Memory) -> Met:
    """Let neighbours meet, then blocks of two, of four, and so on; gates are only ever multiplied.

    The earlier block has brought its keys to its end and the later one its queries to its start. What has
    decayed below 1e-19 (1e-154 in float64) by then counts as zero.
    """
    p, chunk, size = q.shape
    given_q, given_k = memory("given_q", *q.shape).copy_(q), memory("given_k", *k.shape).copy_(k)
    g = log_g.exp_()
    a = memory("a", p, chunk, chunk).zero_()
    a.diagonal(dim1=1, dim2=2).copy_(torch.mul(q, k, out=memory("product", *q.shape)).sum(-1))
    _without_traces(q.mul_(g))
    levels, gates, m = [], g, 1
    while m < chunk:
        pairs = chunk // (2 * m)
        later, earlier = q.view(p, pairs, 2, m, size)[:, :, 1], k.view(p, pairs, 2, m, size)[:, :, 0]
        right, left = memory(f"right{m}", p, chunk // 2, size), memory(f"left{m}", p, chunk // 2, size)
        right.view_as(later).copy_(later)
        left.view_as(earlier).copy_(earlier)
        # One product for all blocks of a chunk: so many small ones would take longer than what this wastes.
        met = torch.bmm(right, left.transpose(1, 2), out=memory("met", p, chunk // 2, chunk // 2))
        _blocks(a, 2 * m)[:, m:, :m].copy_(_blocks(met, m))
        both = gates.view(p, pairs, 2, size)
        _without_traces(later.mul_(both[:, :, :1]))
        _without_traces(earlier.mul_(both[:, :, 1:]))
        gates = torch.mul(both[:, :, 0], both[:, :, 1], out=memory(f"gates{m}", p, pairs, size))
        _without_traces(gates)
        levels.append(_Level(m, right, left, both))
        m *= 2

    def differentiate(grad_a: Tensor, grad_q: Tensor, grad_k: Tensor, grad_gates: Tensor) -> Tensor:
        grad_g = grad_gates.unsqueeze(1)
        for level in reversed(levels):
            grad_g = _part(level, grad_a, grad_q, grad_k, grad_g, memory)
        diagonal = grad_a.diagonal(dim1=1, dim2=2).unsqueeze(-1)
        grad_q.mul_(g)
        grad_g = torch.addcmul(grad_g, grad_q, given_q)
        grad_q.addcmul_(diagonal, given_k)
        grad_k.addcmul_(diagonal, given_q)
        return grad_g

    return Met(a, q, k, gates.view(p, size), differentiate)


def _part(
    level: _Level, grad_a: Tensor, grad_q: Tensor, grad_k: Tensor, grad_g: Tensor, memory: Memory
) -> Tensor:
    """Undo the meeting of a level in the gradients of the queries and keys, in place.

    Returns:
        The gradient of the logarithms of the products of its blocks' gates `(P, blocks, K)`.
    """
    m, right, left, gates = level
    p, chunk, size = grad_q.shape
    pairs = chunk // (2 * m)
    later = grad_q.view(p, pairs, 2, m, size)[:, :, 1]
    earlier = grad_k.view(p, pairs, 2, m, size)[:, :, 0]
    later.mul_(gates[:, :, :1])
    earlier.mul_(gates[:, :, 1:])
    parts = memory(f"parts{m}", p, pairs, 2, size)
    product = memory("product", p, chunk // 2, size)
    torch.sum(torch.mul(later, right.view_as(later), out=product.view_as(later)), 2, out=parts[:, :, 0])
    torch.sum(torch.mul(earlier, left.view_as(earlier), out=product.view_as(later)), 2, out=parts[:, :, 1])
    met = memory("met", p, chunk // 2, chunk // 2).zero_()
    _blocks(met, m).copy_(_blocks(grad_a, 2 * m)[:, m:, :m])
    later.add_(torch.bmm(met, left, out=product).view_as(later))
    earlier.add_(torch.bmm(met.transpose(1, 2), right, out=product).view_as(earlier))
    return parts.add_(grad_g.unsqueeze(2)).flatten(1, 2)


def _blocks(a: Tensor, side: int) -> Tensor:
    """View the square blocks on the diagonal of `(P, C, C)` as `(P, rows, columns, blocks)`."""
    blocks = torch.unflatten(torch.unflatten(a, 2, (-1, side)), 1, (-1, side))
    return blocks.diagonal(dim1=1, dim2=3)
