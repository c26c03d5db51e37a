"""The recurrence of Li-GRU and SLi-GRU as the operators `sru_nn::ligru_forward` and `sru_nn::ligru_backward`.

The kernels run only what must be computed step by step. The gradients of the weight and of the norm are
products and sums over all steps at once. The arguments have already been checked by `arguments.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_nn import backend, pieces
from sru_nn.cells.ligru import plain, reference
from sru_nn.cells.ligru.plain import Inputs as Inputs
from sru_nn.dtypes import accumulate_dtype, in_accumulate_dtype, without_autocast
from sru_nn.gemm import multiply, weight_gradient
from sru_nn.kernels import kernels, run_kernel
from sru_nn.operators import is_one, is_recorded, is_transformed
from sru_nn.recurrence import Passes, Recurrence, by_reference


def ligru_recurrence(
    u: Tensor,
    weight: Tensor,
    h0: Tensor | None,
    *,
    bidirectional: bool,
    activation: str,
    norm_eps: float | None,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    mask_h: Tensor | None,
    mask_pad: Tensor | None,
    reset: Tensor | None,
    h_reset: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.ligru_recurrence` in the fastest way available."""
    marks = mask_pad if reset is None else pieces.marks(mask_pad, reset, bidirectional)
    offsets = None if cu_seqlens is None else cu_seqlens.to(torch.int64)
    weight = weight if weight.dtype == u.dtype else weight.to(u.dtype)
    h0, h_reset, norm_weight, norm_bias, mask = in_accumulate_dtype(
        u.dtype, h0, h_reset, norm_weight, norm_bias, mask_h
    )
    small = (h0, h_reset, norm_weight, norm_bias, mask)
    inputs = Inputs(u, weight, *small, marks, offsets, bidirectional, activation, norm_eps)
    # The operators compute no gradient for the dropout mask, which the modules draw at random.
    if is_transformed() or (mask_h is not None and mask_h.requires_grad):
        return reference.by_marks(*inputs)
    return _OPERATORS(None if is_recorded() else choose(inputs), inputs)


def choose(inputs: Inputs) -> backend.Backend:
    """Return the backend of the operators: plain PyTorch without kernels or for a single step.

    A kernel first packs the weight, which takes longer than multiplying by it once.
    """
    device = inputs.u.device
    if backend.active(device) != "kernels" or is_one(inputs.u.shape[0]):
        return "reference"
    return "kernels" if hasattr(getattr(kernels()[0], device.type), "ligru_forward") else "reference"


def results(inputs: Inputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return `h`, the last state and the states (empty without `save`), uninitialised."""
    last = _last(inputs)
    h = inputs.u.new_empty(*inputs.u.shape[:2], last.shape[1])
    return h, last, last.new_empty(h.shape if save else (0,))


def _last(inputs: Inputs) -> Tensor:
    """Return the last state, uninitialised."""
    u = inputs.u
    count = u.shape[1] if inputs.cu_seqlens is None else inputs.cu_seqlens.shape[0] - 1
    columns = u.shape[3] * (2 if inputs.bidirectional else 1)
    return u.new_empty(count, columns, dtype=accumulate_dtype(u.dtype))


def gradients(inputs: Inputs, *_: Any) -> tuple[Tensor, ...]:
    """Return the gradients of the inputs `u` to `norm_bias`, uninitialised."""
    last, *others = _small_gradients(inputs)
    return inputs.u.new_empty(inputs.u.shape), last.new_empty(inputs.weight.shape), last, *others


def _small_gradients(inputs: Inputs) -> list[Tensor]:
    """Return the gradients of `h0`, `h_reset` and the norm, uninitialised."""
    last, optional = _last(inputs), (inputs.h_reset, inputs.norm_weight, inputs.norm_bias)
    return [last, *(last.new_empty(0 if x is None else x.shape) for x in optional)]


def count_flops(inputs: Inputs) -> int:
    """Return the number of floating-point operations in the equations."""
    length, batch, _, size = inputs.u.shape
    steps = length * batch * (2 if inputs.bidirectional else 1)
    of_state = 8 + (inputs.mask_h is not None)  # two sums, two activations, four for the new state
    of_norm = 0 if inputs.norm_eps is None else 5 + sum(x is not None for x in inputs[4:6])
    return steps * size * (2 * 2 * size + 2 * of_norm + of_state)


def forward(inputs: Inputs, save: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Compute the results with the kernel."""
    h, last, states = results(inputs, save)
    given, kept = (inputs.norm_eps or 0.0, inputs.h0, inputs.h_reset), states if save else None
    run_kernel("ligru_forward", h, *_fields(inputs), *given, h, last, kept, None, None, _scratch(inputs))
    return h, last, kept


def backward(inputs: Inputs, states: Tensor, *grads: Tensor | None) -> tuple[Tensor, ...]:
    """Compute the gradients, step by step in the kernel and then as products over all steps."""
    u, (grad_h0, grad_h_reset, *of_norm) = inputs.u, _small_gradients(inputs)
    before, rstd = _before(inputs, states), None
    grad_starts = None if inputs.h_reset is None else torch.empty_like(grad_h0)
    with without_autocast(u.device):
        # A step reads its products before its gradients overwrite them.
        products = grad_sums = grad_products = multiply(before, inputs.weight.to(before.dtype))
        if inputs.norm_eps is not None:
            shape = products.shape[-1:]
            products, _, rstd = torch.native_layer_norm(products, shape, None, None, inputs.norm_eps)
            grad_products = products if inputs.norm_weight is None else torch.empty_like(products)
        found = (grad_sums, grad_products if inputs.norm_eps is not None else None, grad_h0, grad_starts)
        scratch = _scratch(inputs)
        run_kernel("ligru_backward", u, *_fields(inputs), before, products, rstd, *grads, *found, scratch)
        grad_weight = weight_gradient(grad_products.flatten(0, 2), before.flatten(0, 2))
    if inputs.norm_weight is not None:
        of_norm[0] = (products * grad_sums).sum((0, 1, 2))
    if inputs.norm_bias is not None:
        of_norm[1] = grad_sums.sum((0, 1, 2))
    grad_u = grad_sums.sum(2) if inputs.bidirectional else grad_sums
    grad_h_reset = grad_h_reset if grad_starts is None else grad_starts.sum(0)
    return grad_u.view(u.shape).to(u.dtype), grad_weight.contiguous(), grad_h0, grad_h_reset, *of_norm


def _scratch(inputs: Inputs) -> Tensor | None:
    """Return scratch memory for the GPU kernels; the CPU kernels allocate their own."""
    if not inputs.u.is_cuda:
        return None
    last, directions = _last(inputs), 2 if inputs.bidirectional else 1
    return last.new_empty(5, last.shape[0], last.shape[1] + 4 * directions)


def _before(inputs: Inputs, states: Tensor) -> Tensor:
    """Return the state before each step, `(T, B, N, D)`, from those after the steps."""
    length, _, columns = states.shape
    h0, cu_seqlens, marks, begins = inputs.h0, inputs.cu_seqlens, inputs.marks, inputs.h_reset
    if cu_seqlens is not None:
        marks = pieces.sequence_marks(cu_seqlens, length)
        if h0 is not None:
            begins, h0 = h0[pieces.sequence_numbers(cu_seqlens, length)].unsqueeze(1), None
    edge = states.new_zeros(1, states.shape[1], columns) if h0 is None else h0.unsqueeze(0)
    begins = states.new_zeros(columns) if begins is None else begins
    directions = 2 if inputs.bidirectional else 1
    by_direction = zip(*(x.chunk(directions, -1) for x in (states, edge, begins)), strict=True)
    parts = []
    for second, (after, first, begin) in enumerate(by_direction):
        before = torch.cat([after[1:], first] if second else [first, after])[:length]
        if marks is not None and marks.dtype != torch.bool:
            before = torch.where(pieces.starts(marks, bool(second)).unsqueeze(2), begin, before)
        parts.append(before)
    return torch.stack(parts, 2) if inputs.bidirectional else parts[0].unsqueeze(2)


def _fields(inputs: Inputs) -> tuple[Any, ...]:
    """Return the leading fields of both kernels, in order."""
    u, weight, _, _, norm_weight, norm_bias, mask_h, marks, cu_seqlens, both, activation, norm_eps = inputs
    count = u.shape[1] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    sizes = (len(u), count, u.shape[3], 2 if both else 1)
    tensors = (u, weight, norm_weight, norm_bias, mask_h, marks, cu_seqlens)
    return u.dtype, activation, *sizes, norm_eps is not None, *tensors


_INPUTS = (
    "Tensor u, Tensor weight, Tensor? h0, Tensor? h_reset, Tensor? norm_weight, Tensor? norm_bias, "
    "Tensor? mask_h, Tensor? marks, Tensor? cu_seqlens, bool bidirectional, str activation, float? norm_eps"
)
_OPERATORS = Recurrence(
    "ligru",
    Inputs,
    (
        f"({_INPUTS}, bool save) -> (Tensor h, Tensor h_last, Tensor states)",
        f"({_INPUTS}, Tensor states, Tensor? grad_h, Tensor? grad_h_last) -> (Tensor grad_u, "
        "Tensor grad_weight, Tensor grad_h0, Tensor grad_h_reset, Tensor grad_norm_weight, "
        "Tensor grad_norm_bias)",
    ),
    kernels=Passes(forward, backward),
    plain=Passes(plain.forward, plain.backward),
    results=Passes(results, gradients),
    choose=choose,
    count_flops=count_flops,
    differentiate_twice=by_reference(lambda inputs: reference.by_marks(*inputs)),
)
