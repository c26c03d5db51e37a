"""The recurrence of Li-GRU and SLi-GRU as the operators `sru_nn::ligru_forward` and `sru_nn::ligru_backward`.

Plain PyTorch runs them on every device. The arguments have been checked, by `arguments.py` beside this file.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_nn.cells.ligru import plain, reference
from sru_nn.cells.ligru.plain import Inputs as Inputs
from sru_nn.dtypes import accumulate_dtype
from sru_nn.operators import Passes, Recurrence, by_reference, is_transformed
from sru_nn.pieces import marks as make_marks


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
    """Compute `sru_nn.functional.ligru_recurrence` in the way that is fastest here."""
    marks = mask_pad if reset is None else make_marks(mask_pad, reset, bidirectional)
    offsets = None if cu_seqlens is None else cu_seqlens.to(torch.int64)
    small = (weight, h0, h_reset, norm_weight, norm_bias, mask_h)
    dtype = accumulate_dtype(u.dtype)
    small = tuple(x if x is None or x.dtype == dtype else x.to(dtype) for x in small)  # type: ignore[assignment]
    inputs = Inputs(u, *small, marks, offsets, bidirectional, activation, norm_eps)
    # The operators give the dropout mask no gradient; the modules draw it at random.
    if is_transformed() or (mask_h is not None and mask_h.requires_grad):
        return reference.by_marks(*inputs)
    return _OPERATORS(None if torch.compiler.is_compiling() else "reference", inputs)


def _results(inputs: Inputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return `h`, the last state and the states, empty without `save`; none has a value."""
    u, weight = inputs.u, inputs.weight
    length, batch, _, size = u.shape
    columns = size * (2 if inputs.bidirectional else 1)
    count = batch if inputs.cu_seqlens is None else inputs.cu_seqlens.shape[0] - 1
    states = weight.new_empty((length, batch, columns) if save else (0,))
    return u.new_empty(length, batch, columns), weight.new_empty(count, columns), states


def _gradients(inputs: Inputs, *_: Any) -> tuple[Tensor, ...]:
    """Return the gradients of `u` to `norm_bias`; none has a value."""
    last = _results(inputs, False)[1]
    optional = (inputs.h_reset, inputs.norm_weight, inputs.norm_bias)
    parts = [last.new_empty(0 if x is None else x.shape) for x in optional]
    return inputs.u.new_empty(inputs.u.shape), inputs.weight.new_empty(inputs.weight.shape), last, *parts


_INPUTS = (
    "Tensor u, Tensor weight, Tensor? h0, Tensor? h_reset, Tensor? norm_weight, Tensor? norm_bias, "
    "Tensor? mask_h, Tensor? marks, Tensor? cu_seqlens, bool bidirectional, str activation, float? norm_eps"
)
_PLAIN = Passes(plain.forward, plain.backward)
_OPERATORS = Recurrence(
    "ligru",
    Inputs,
    (
        f"({_INPUTS}, bool save) -> (Tensor h, Tensor h_last, Tensor states)",
        f"({_INPUTS}, Tensor states, Tensor? grad_h, Tensor? grad_h_last) -> (Tensor grad_u, "
        "Tensor grad_weight, Tensor grad_h0, Tensor grad_h_reset, Tensor grad_norm_weight, "
        "Tensor grad_norm_bias)",
    ),
    kernels=_PLAIN,
    plain=_PLAIN,
    results=Passes(_results, _gradients),
    choose=lambda inputs: "reference",
    differentiate_twice=by_reference(lambda inputs: reference.by_marks(*inputs)),
)
