"""The gated linear recurrence as the operators `sru_nn::gated_linear_forward` and `_backward`, on any device.

On a CPU the kernels run them where they can, step by step; everywhere else plain PyTorch does, by chunks.
Both save the states before each chunk. The arguments have been checked by `sru_nn.functional`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_nn import backend
from sru_nn.cells.gated_linear import chunks, reference
from sru_nn.dtypes import accumulate_dtype
from sru_nn.operators import Passes, Recurrence, is_transformed, run_kernel, storage_dtype


def gated_linear_recurrence(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None, *, mask_pad: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.gated_linear_recurrence` in the way that is fastest here."""
    chosen = None if torch.compiler.is_compiling() else choose(q, k, v)
    # A single step gives chunks nothing to gain.
    if is_transformed() or (chosen != "kernels" and q.shape[0] == 1):
        return reference.gated_linear_recurrence(q, k, v, log_g, s0, mask_pad=mask_pad)
    if mask_pad is not None:
        q, k, v, log_g = reference.without_padding(mask_pad, q, k, v, log_g)
    # In the accumulation dtype, so that a kernel is compiled for one dtype of them only.
    dtype = accumulate_dtype(q.dtype)
    return _OPERATORS(chosen, q, k, v, log_g.to(dtype), None if s0 is None else s0.to(dtype))


def choose(q: Tensor, k: Tensor, v: Tensor, *_: Any) -> backend.Backend:
    """Return what runs the operators; the kernels are for CPU tensors that are not empty."""
    if q.device.type == "cpu" and backend.active(q.device) == "kernels" and q.numel() * v.numel() > 0:
        return "kernels"
    return "reference"


def _results(
    q: Tensor, k: Tensor, v: Tensor, log_g: Tensor, s0: Tensor | None, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    length, batch, heads, key_size = q.shape
    s = q.new_empty(batch, heads, key_size, v.shape[-1], dtype=accumulate_dtype(q.dtype))
    count = chunks.count_chunks(length) if save else 0
    return q.new_empty(v.shape), s, s.new_empty(count, batch * heads, key_size, v.shape[-1])


def _gradients(*args: Tensor) -> tuple[Tensor, ...]:
    q, _, v, _, starts, *_ = args
    return *(x.new_empty(x.shape) for x in args[:4]), starts.new_empty(*q.shape[1:], v.shape[-1])


def _forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    *inputs, s0, save = args
    o, s, starts = _results(*args)
    run_kernel("gated_linear_forward", o.device, *_fields(*inputs), s0, o, s, starts if save else None)
    return o, s, starts


def _backward(*args: Any) -> tuple[Tensor, ...]:
    gradients = _gradients(*args)
    run_kernel("gated_linear_backward", args[0].device, *_fields(*args[:4]), *args[4:], *gradients)
    return gradients


def _fields(q: Tensor, k: Tensor, v: Tensor, log_g: Tensor) -> tuple[Any, ...]:
    """Return the fields that both kernels begin with, in their order."""
    return (storage_dtype(q.dtype), *q.shape, v.shape[-1], chunks.CHUNK, q, k, v, log_g)


def _differentiate_twice(*args: Tensor | None) -> tuple[Tensor | None, ...]:
    """Return the gradients of the reference, which have gradients themselves."""
    *given, grad_o, grad_s = args
    pairs = zip(reference.gated_linear_recurrence(*given), (grad_o, grad_s), strict=True)  # type: ignore[arg-type]
    results, upstream = zip(*((result, grad) for result, grad in pairs if grad is not None), strict=True)
    wanted = [x for x in given if x is not None and x.requires_grad]
    found = iter(torch.autograd.grad(results, wanted, upstream, create_graph=True, allow_unused=True))
    return tuple(next(found) if x is not None and x.requires_grad else None for x in given)


_INPUTS = "Tensor q, Tensor k, Tensor v, Tensor log_g"
_OPERATORS = Recurrence(
    "gated_linear",
    (
        f"({_INPUTS}, Tensor? s0, bool save) -> (Tensor o, Tensor s, Tensor starts)",
        f"({_INPUTS}, Tensor starts, Tensor? grad_o, Tensor? grad_s) "
        "-> (Tensor grad_q, Tensor grad_k, Tensor grad_v, Tensor grad_log_g, Tensor grad_s0)",
    ),
    kernels=Passes(_forward, _backward),
    plain=Passes(chunks.forward, chunks.backward),
    results=Passes(_results, _gradients),
    choose=choose,
    differentiate_twice=_differentiate_twice,
)
