"""The part of the gated linear recurrence within a chunk, with its gradients.

From queries, keys and gates it computes

    A_ts = Σ_K q_t ⊙ Π_{r from s+1 to t} g_r ⊙ k_s     for s ≤ t, else 0

and moves the queries to the start of their chunk and the keys to its end:

    q_t ⊙ Π_{r up to t} g_r        k_s ⊙ Π_{r after s} g_r

Queries and keys are first combined by division, in blocks as long as their gates allow, up to the whole
chunk. Neighbouring blocks are then joined, then pairs of these, and so on, using only products of gates.

P is N·B·H, where N is the number of chunks.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sru_nn.dtypes import accumulate_dtype

# Steps per block if the gates of a whole chunk are too small for division.
_SHORT = 8
# Logarithm of the smallest product of gates to divide by: the square root of float32's smallest number. In
# float64, dividing by smaller ones would round away the gradients of the gates, which are as small.
_SMALLEST = 0.5 * math.log(torch.finfo(torch.float32).tiny)


class Memory:
    """Buffers by name and shape, reused in each iteration: on a CPU allocating costs more than writing."""

    def __init__(self, like: Tensor) -> None:
        self.like = like.new_empty(0, dtype=accumulate_dtype(like.dtype))
        self.buffers: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Return an uninitialised tensor of this shape."""
        if (name, shape) not in self.buffers:
            self.buffers[name, shape] = self.like.new_empty(shape)
        return self.buffers[name, shape]


@functools.cache
def _ones(chunk: int, m: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix `(chunk, chunk)` that computes cumulative sums within blocks of m steps."""
    return torch.kron(torch.eye(chunk // m, dtype=dtype), torch.ones(m, m, dtype=dtype).tril())


class Met(NamedTuple):
    """Blocks of m steps within which queries and keys have been combined; finally the whole chunk."""

    m: int
    a: Tensor  # (P, C, C), zero outside the blocks
    q: Tensor  # (N, C, B·H, K), from the starts of the blocks
    k: Tensor  # the same, to the ends of the blocks
    gates: Tensor  # (N, C/m, B·H, K), the product of the gates of each block
    differentiate: _Differentiate


_Results = tuple[Tensor, Tensor, Tensor]
# Takes the gradients of a, of q and k `(P, C, K)` and of the logarithms of the gates, which it may overwrite,
# and the tensors that receive the gradients of the queries, the keys and the logarithms of the gates.
_Differentiate = Callable[[Tensor, Tensor, Tensor, Tensor, _Results], None]


def by_head(x: Tensor) -> Tensor:
    """Turn `(N, C, B·H, K)` into `(P, C, K)`, without a copy if N or B·H is one."""
    return x[0].transpose(0, 1) if x.shape[0] == 1 else x.transpose(1, 2).flatten(0, 1)


def by_time(x: Tensor, chunks: int) -> Tensor:
    """View `(P, C, K)` as `(N, C, B·H, K)`."""
    return torch.unflatten(x, 0, (chunks, -1)).transpose(1, 2)


def meet(q: Tensor, k: Tensor, log_g: Tensor, memory: Memory) -> Met:
    """Combine the queries and keys of each chunk.

    Args:
        q: `(N, C, B·H, K)`, in the accumulation dtype, with C a power of two.
        k: The same.
        log_g: The same.
        memory: Holds the results until the next call.
    """
    met = _by_division(q, k, log_g, memory) or _by_products(q, k, log_g, memory)
    while met.m < q.shape[1]:
        met = _join(met, memory)
    return met


def _by_division(q: Tensor, k: Tensor, log_g: Tensor, memory: Memory) -> Met | None:
    """Move keys to the start of their block by division, if the products of the gates allow it."""
    if q.device.type != "cpu":
        return None  # checking would synchronise the device
    n, chunk, heads, _ = q.shape
    decay, queries, keys, ends = (memory(name, *q.shape) for name in ("decay", "queries", "keys", "ends"))
    for m in (chunk, _SHORT) if chunk > _SHORT else (chunk,):
        ones = _ones(chunk, m, memory.like.dtype)
        # A matrix product, because torch.cumsum is slow on a CPU along any axis but the last.
        torch.bmm(ones.expand(n, -1, -1), log_g.flatten(2), out=decay.flatten(2))
        gates = decay[:, m - 1 :: m]
        # A closed gate makes this NaN, for which the comparison is False.
        if gates.amin().item() > _SMALLEST:
            break
    else:
        return None

    def by_block(x: Tensor) -> Tensor:
        return torch.unflatten(x, 1, (-1, m))

    torch.exp(decay, out=decay)
    torch.mul(q, decay, out=queries)
    torch.div(k, decay, out=keys)
    torch.mul(by_block(keys), gates.unsqueeze(2), out=by_block(ends))
    a = memory("a", n * heads, chunk, chunk)
    _within(torch.bmm(by_head(queries), by_head(keys).transpose(1, 2), out=a), ones)

    def differentiate(
        grad_a: Tensor, grad_q: Tensor, grad_k: Tensor, grad_gates: Tensor, results: _Results
    ) -> None:
        _within(grad_a, ones)
        torch.mul(q, decay, out=queries)  # _join may have moved them to the start of the chunk
        by_q, by_k, product = by_time(grad_q, n), by_time(grad_k, n), memory("product", *q.shape)
        by_block(by_k).mul_(gates.unsqueeze(2))
        torch.mul(by_k, keys, out=product)
        grad_gates = grad_gates + by_block(product).sum(2)
        grad_k.baddbmm_(grad_a.transpose(1, 2), by_head(queries))
        grad_q.baddbmm_(grad_a, by_head(keys))
        torch.mul(by_q, queries, out=product).addcmul_(by_k, keys, value=-1)
        product[:, m - 1 :: m] += grad_gates
        torch.mul(by_q, decay, out=results[0])
        torch.div(by_k, decay, out=results[1])
        torch.bmm(ones.t().expand(n, -1, -1), product.flatten(2), out=results[2].flatten(2))

    return Met(m, a, queries, ends, gates, differentiate)


def _within(a: Tensor, ones: Tensor) -> Tensor:
    """Set `(P, C, C)` to zero where `ones` is zero, even if it is NaN there."""
    return a.tril_() if ones[-1, 0] else a.masked_fill_(ones == 0, 0.0)


def _by_products(q: Tensor, k: Tensor, log_g: Tensor, memory: Memory) -> Met:
    """Combine each step with itself."""
    n, chunk, heads, _ = q.shape
    g = torch.exp(log_g, out=memory("decay", *q.shape))
    product = memory("product", *q.shape)
    a = memory("a", n * heads, chunk, chunk).zero_()
    torch.sum(
        torch.mul(q, k, out=product), -1, out=by_time(a.diagonal(dim1=1, dim2=2).unsqueeze(-1), n)[..., 0]
    )
    queries = _without_traces(torch.mul(q, g, out=memory("queries", *q.shape)))
    keys = memory("ends", *k.shape).copy_(k)

    def differentiate(
        grad_a: Tensor, grad_q: Tensor, grad_k: Tensor, grad_gates: Tensor, results: _Results
    ) -> None:
        by_q, by_k = by_time(grad_q, n), by_time(grad_k, n)
        diagonal = by_time(grad_a.diagonal(dim1=1, dim2=2).unsqueeze(-1), n)
        by_q.mul_(g)
        torch.addcmul(grad_gates, by_q, q, out=results[2])
        torch.addcmul(by_q, diagonal, k, out=results[0])
        torch.addcmul(by_k, diagonal, q, out=results[1])

    return Met(1, a, queries, keys, g, differentiate)


def _without_traces(x: Tensor) -> Tensor:
    """Set values to zero if products of two of them would be subnormal, which is slow on a CPU."""
    torch.ops.aten.hardshrink.out(x, math.sqrt(torch.finfo(x.dtype).tiny), out=x)
    return x


def _join(met: Met, memory: Memory) -> Met:
    """Join neighbouring blocks, using only products of gates.

    The keys of the earlier block have been moved to its end and the queries of the later one to its start.
    Values that have decayed below 1e-19 (1e-154 in float64) by then are taken as zero.
    """
    m, a, q, k, gates, differentiate_blocks = met
    n, chunk, heads, size = q.shape
    shape = (n, chunk // 2, heads, size)
    later, earlier = _pairs(q, m)[1], _pairs(k, m)[0]
    # All later blocks of a chunk end to end, and likewise all earlier blocks.
    right, left = memory(f"right{m}", *shape), memory(f"left{m}", *shape)
    right.view_as(later).copy_(later)
    left.view_as(earlier).copy_(earlier)
    # One product for all blocks of a chunk: many small ones would take longer than the wasted work.
    product = memory("met", n * heads, chunk // 2, chunk // 2)
    torch.bmm(by_head(right), by_head(left).transpose(1, 2), out=product)
    _blocks(a, 2 * m)[:, m:, :m].copy_(_blocks(product, m))
    both = torch.unflatten(gates, 1, (-1, 2))
    _without_traces(later.mul_(both[:, :, :1]))
    _without_traces(earlier.mul_(both[:, :, 1:]))
    gates = torch.mul(both[:, :, 0], both[:, :, 1], out=memory(f"gates{m}", *both[:, :, 0].shape))

    def differentiate(
        grad_a: Tensor, grad_q: Tensor, grad_k: Tensor, grad_gates: Tensor, results: _Results
    ) -> None:
        later, earlier = _pairs(by_time(grad_q, n), m)[1], _pairs(by_time(grad_k, n), m)[0]
        later.mul_(both[:, :, :1])
        earlier.mul_(both[:, :, 1:])
        parts = memory(f"parts{m}", *both.shape)
        product = memory("product", *shape).view(later.shape)
        torch.sum(torch.mul(later, right.view_as(later), out=product), 2, out=parts[:, :, 0])
        torch.sum(torch.mul(earlier, left.view_as(earlier), out=product), 2, out=parts[:, :, 1])
        grad_met = memory("met", n * heads, chunk // 2, chunk // 2).zero_()
        _blocks(grad_met, m).copy_(_blocks(grad_a, 2 * m)[:, m:, :m])
        product = product.view(n * heads, chunk // 2, size)
        by_half = torch.unflatten(by_time(product, n), 1, (-1, m))
        torch.bmm(grad_met, by_head(left), out=product)
        later.add_(by_half)
        torch.bmm(grad_met.transpose(1, 2), by_head(right), out=product)
        earlier.add_(by_half)
        parts.add_(grad_gates.unsqueeze(2))
        differentiate_blocks(grad_a, grad_q, grad_k, parts.flatten(1, 2), results)

    return Met(2 * m, a, q, k, _without_traces(gates), differentiate)


def _pairs(x: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """View the first and the second block of each pair in `(N, C, B·H, K)` as `(N, pairs, m, B·H, K)`."""
    first, second = torch.unflatten(x, 1, (-1, 2, m)).unbind(2)
    return first, second


def _blocks(a: Tensor, side: int) -> Tensor:
    """View the square blocks on the diagonal of `(P, C, C)` as `(P, rows, columns, blocks)`."""
    blocks = torch.unflatten(torch.unflatten(a, 2, (-1, side)), 1, (-1, side))
    return blocks.diagonal(dim1=1, dim2=3)
