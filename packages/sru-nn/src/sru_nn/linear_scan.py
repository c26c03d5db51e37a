"""Linear recurrences in parallel over time, as the operator `sru_nn::linear_scan` on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_nn.operators import define

# Sequential steps on each level of a scan. More steps mean fewer levels with more calls in each. Two, the
# usual choice, needs as few calls but moves more memory.
_RADIX = 16


def linear_scan(a: Tensor, b: Tensor, *, reverse: bool = False) -> Tensor:
    """Solve y_t = a_t ⊙ y_{t-1} + b_t for all t, with y = 0 before the first.

    Differentiable any number of times.

    Args:
        a: `(T, ...)`, float32 or float64.
        b: The same shape and dtype.
        reverse: Whether to solve y_t = a_t ⊙ y_{t+1} + b_t instead, with y = 0 after the last.

    Returns:
        `y`: the same shape and dtype.
    """
    return torch.ops.sru_nn.linear_scan(a, b, reverse)  # type: ignore[no-any-return]


def scan(a: Tensor, b: Tensor) -> Tensor:
    """Compute `linear_scan` of real tensors, without a gradient.

    First, each chunk is scanned for the product of its factors and its last value. These form a recurrence
    over the chunks, solved in the same way. Then each chunk is scanned again from the value before it.
    """
    chunks = b.shape[0] // _RADIX
    y = torch.empty_like(b, memory_format=torch.contiguous_format)
    done, carry = 0, torch.zeros_like(b[:1])
    if chunks > 1:
        a_chunks, b_chunks = by_chunks(a, _RADIX), by_chunks(b, _RADIX)
        products, ends = a_chunks[0], b_chunks[0]
        for a_t, b_t in zip(a_chunks[1:].unbind(0), b_chunks[1:].unbind(0), strict=True):
            products, ends = products * a_t, torch.addcmul(b_t, a_t, ends)
        ends = scan(products, ends)
        _scan_in_order(a_chunks, b_chunks, torch.cat([carry, ends[:-1]]), by_chunks(y, _RADIX))
        done, carry = chunks * _RADIX, ends[-1:]
    _scan_in_order(a[done:], b[done:], carry.squeeze(0), y[done:])
    return y


def by_chunks(tensor: Tensor, chunk: int) -> Tensor:
    """View `(T, ...)` as `(chunk, T // chunk, ...)`, without the last steps that do not fill a chunk."""
    count = tensor.shape[0] // chunk
    return torch.unflatten(tensor[: count * chunk], 0, (count, chunk)).transpose(0, 1)


def _scan_in_order(a: Tensor, b: Tensor, y: Tensor, out: Tensor) -> None:
    for a_t, b_t, out_t in zip(a.unbind(0), b.unbind(0), out.unbind(0), strict=True):
        y = torch.addcmul(b_t, a_t, y, out=out_t)


def _linear_scan(a: Tensor, b: Tensor, reverse: bool) -> Tensor:
    if reverse:
        return _linear_scan(a.flip(0), b.flip(0), False).flip(0)
    y = scan(a, b)
    # The product of many factors may overflow even if the value itself, computed step by step, does not.
    if b.shape[0] > _RADIX and not y.isfinite().all():
        _scan_in_order(a, b, torch.zeros_like(b[0]), y)
    return y


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a, _, ctx.reverse = inputs
    ctx.save_for_backward(a, output)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
    a, y = ctx.saved_tensors
    grad_b = linear_scan(shifted(a, not ctx.reverse), grad, reverse=not ctx.reverse)
    return grad_b * shifted(y, ctx.reverse), grad_b, None


def shifted(tensor: Tensor, backwards: bool) -> Tensor:
    """Shift a tensor by one time step: each step gets the previous one or, with `backwards`, the next."""
    edge = torch.zeros_like(tensor[:1])
    return torch.cat([tensor[1:], edge] if backwards else [edge, tensor[:-1]])


define(
    "linear_scan",
    "(Tensor a, Tensor b, bool reverse) -> Tensor",
    _linear_scan,
    lambda a, b, reverse: torch.empty_like(b, memory_format=torch.contiguous_format),
    _differentiate,
    _save_for_backward,
    count_flops=lambda a, b, reverse: 2 * b.numel(),
)
