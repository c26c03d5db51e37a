"""Linear recurrences in parallel over time, as the operator `sru_nn::linear_scan` on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Steps in a row on each level of a scan. More would make fewer levels with more calls in each; two, the usual
# choice, makes as few calls, but moves more memory: docs/length-parallel.md.
_RADIX = 16

torch.library.define("sru_nn::linear_scan", "(Tensor a, Tensor b, bool reverse) -> Tensor")


def linear_scan(a: Tensor, b: Tensor, *, reverse: bool = False) -> Tensor:
    """Solve y_t = a_t ⊙ y_{t-1} + b_t for all t, with y = 0 before the first.

    It can be differentiated any number of times.

    Args:
        a: `(T, ...)`, float32 or float64.
        b: The same shape and dtype.
        reverse: Whether it is y_t = a_t ⊙ y_{t+1} + b_t instead, with y = 0 after the last.

    Returns:
        `y`: the same shape and dtype.
    """
    y: Tensor = torch.ops.sru_nn.linear_scan(a, b, reverse)
    return y


def scan(a: Tensor, b: Tensor) -> Tensor:
    """Compute `linear_scan` of real tensors, without a gradient.

    Chunks are scanned for the product of their factors and their last value; these make a recurrence over the
    chunks, solved in the same way; then the chunks are scanned again, from what comes before each.
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
    """View `(T, ...)` as `(chunk, T // chunk, ...)`, less the last steps that are no whole chunk."""
    count = tensor.shape[0] // chunk
    return torch.unflatten(tensor[: count * chunk], 0, (count, chunk)).transpose(0, 1)


def _scan_in_order(a: Tensor, b: Tensor, y: Tensor, out: Tensor) -> None:
    for a_t, b_t, out_t in zip(a.unbind(0), b.unbind(0), out.unbind(0), strict=True):
        y = torch.addcmul(b_t, a_t, y, out=out_t)


def _linear_scan(a: Tensor, b: Tensor, reverse: bool) -> Tensor:
    if reverse:
        return _linear_scan(a.flip(0), b.flip(0), False).flip(0)
    y = scan(a, b)
    # The product of many factors may overflow where the value itself, met step by step, does not.
    if b.shape[0] > _RADIX and not y.isfinite().all():
        _scan_in_order(a, b, torch.zeros_like(b[0]), y)
    return y


torch.library.impl("sru_nn::linear_scan", "CompositeExplicitAutograd", _linear_scan)


@torch.library.register_fake("sru_nn::linear_scan")  # type: ignore[untyped-decorator]
def _linear_scan_result(a: Tensor, b: Tensor, reverse: bool) -> Tensor:
    return torch.empty_like(b, memory_format=torch.contiguous_format)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a, _, ctx.reverse = inputs
    ctx.save_for_backward(a, output)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
    a, y = ctx.saved_tensors
    grad_b = linear_scan(shifted(a, not ctx.reverse), grad, reverse=not ctx.reverse)
    return grad_b * shifted(y, ctx.reverse), grad_b, None


def shifted(tensor: Tensor, backwards: bool) -> Tensor:
    """Move a tensor by one step of time: forwards, so that each step has the one before, or backwards."""
    edge = torch.zeros_like(tensor[:1])
    return torch.cat([tensor[1:], edge] if backwards else [edge, tensor[:-1]])


torch.library.register_autograd("sru_nn::linear_scan", _differentiate, setup_context=_save_for_backward)
