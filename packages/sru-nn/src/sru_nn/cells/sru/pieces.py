"""The SRU over rows of several sequences: the operators `sru_nn::sru_pieces_forward` and `_backward`.

They generalise `sru_nn::sru_forward` and `sru_nn::sru_backward`: they also replace the state within a row,
with `c_reset` at `marks` and, for concatenated sequences, at `cu_seqlens`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_nn import backend
from sru_nn.cells.sru import plain, reference
from sru_nn.cells.sru.plain import Inputs
from sru_nn.cells.sru.plain import PieceInputs as PieceInputs
from sru_nn.dtypes import in_accumulate_dtype
from sru_nn.kernels import run_kernel
from sru_nn.pieces import launch_order
from sru_nn.pieces import marks as make_marks
from sru_nn.recurrence import Passes, Recurrence, by_reference, passes_of


def run(
    chosen: backend.Backend | None,
    inputs: Inputs,
    reset: Tensor | None,
    c_reset: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Run the operators on a backend; if it is None, they choose one. `mask_c` has no gradient."""
    u, v, bias, c0, x, mask_c, mask_pad, bidirectional, activation, scale_x = inputs
    marks = None if cu_seqlens is not None else make_marks(mask_pad, reset, bidirectional)
    offsets = None if cu_seqlens is None else cu_seqlens.to(torch.int64)
    v, bias, c0, c_reset, mask_c = in_accumulate_dtype(u.dtype, v, bias, c0, c_reset, mask_c)
    where = (marks, offsets, bidirectional)
    return _OPERATORS(chosen, PieceInputs(u, v, bias, c0, c_reset, x, mask_c, *where, activation, scale_x))


def results(inputs: PieceInputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return `h`, `c_last` and the states after each position (empty without `save`), uninitialised."""
    length, batch, _, columns = inputs.u.shape
    h, c_last = inputs.u.new_empty(length, batch, columns), inputs.bias.new_empty(_rows(inputs), columns)
    return h, c_last, inputs.bias.new_empty((length, batch, columns) if save else (0,))


def gradients(inputs: PieceInputs, *_: Any) -> tuple[Tensor, ...]:
    """Return the gradients of `u`, `v`, `bias`, `c0`, `c_reset` and `x`, uninitialised."""
    u, v, bias, c_reset, x = inputs.u, inputs.v, inputs.bias, inputs.c_reset, inputs.x
    grad_x = u.new_empty(0) if x is None else x.new_empty(x.shape)
    grad_c0 = bias.new_empty(_rows(inputs), u.shape[3])
    grad_c_reset = bias.new_empty(0 if c_reset is None else u.shape[3])
    return (
        u.new_empty(u.shape),
        v.new_empty(v.shape),
        bias.new_empty(bias.shape),
        grad_c0,
        grad_c_reset,
        grad_x,
    )


def count_flops(inputs: PieceInputs) -> int:
    """Return the number of floating-point operations in the equations."""
    length, batch, gates, columns = inputs.u.shape
    has_highway = inputs.x is not None or gates == 4
    options = (inputs.activation != "identity", inputs.mask_c is not None, inputs.scale_x != 1)
    # Four for each gate and for the state; for the output one product, or four with the highway.
    return length * batch * columns * (12 + (4 if has_highway else 1) + sum(options))


def forward(inputs: PieceInputs, save: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Compute the results with the kernel."""
    length, batch, _, columns = inputs.u.shape
    h, c_last = inputs.u.new_empty(length, batch, columns), inputs.bias.new_empty(_rows(inputs), columns)
    c = inputs.bias.new_empty(length, batch, columns) if save else None
    run_kernel("sru_forward", h, *_fields(inputs), h, c, c_last)
    return h, c_last, c


def backward(inputs: PieceInputs, *saved: Tensor | None) -> tuple[Tensor, ...]:
    """Compute the gradients with the kernel."""
    u, v, bias, c_reset, x = inputs.u, inputs.v, inputs.bias, inputs.c_reset, inputs.x
    grad_u, grad_v, grad_bias, grad_c0, grad_c_reset, grad_x = gradients(inputs)
    # The kernel sums over time for each sequence. The batch is then summed in a fixed order.
    per_position, shape = v.dim() == 4, (2, *grad_c0.shape)
    grad_v, grad_bias = grad_v if per_position else v.new_empty(shape), bias.new_empty(shape)
    grad_starts = None if c_reset is None else torch.empty_like(grad_c0)
    outputs = (grad_u, None if x is None else grad_x, grad_v, grad_bias, grad_c0, grad_starts)
    run_kernel("sru_backward", u, *_fields(inputs), *saved, *outputs)
    grad_v = grad_v if per_position else grad_v.sum(1)
    grad_c_reset = grad_c_reset if grad_starts is None else grad_starts.sum(0)
    return grad_u, grad_v, grad_bias.sum(1), grad_c0, grad_c_reset, grad_x


def _rows(inputs: PieceInputs) -> int:
    """Return the number of sequences that have a state."""
    return inputs.u.shape[1] if inputs.cu_seqlens is None else inputs.cu_seqlens.shape[0] - 1


def _fields(inputs: PieceInputs) -> tuple[Any, ...]:
    """Return the leading fields of both kernels, in order."""
    u, v, bias, c0, c_reset, x, mask_c, marks, cu_seqlens, bidirectional, activation, scale_x = inputs
    length, _, gates, columns = u.shape
    directions = 2 if bidirectional else 1
    sizes = (length, _rows(inputs), columns // directions, directions, gates)
    order = None if cu_seqlens is None else launch_order(cu_seqlens, columns)
    tensors = (u, v, bias, c0, x, mask_c, marks, c_reset, cu_seqlens, order)
    return u.dtype, activation, *sizes, *tensors, scale_x, v.dim() == 4


KERNELS = Passes(forward, backward)
TRITON = passes_of("sru_nn.cells.sru.triton")
PLAIN = Passes(plain.forward, plain.backward)
RESULTS = Passes(results, gradients)
_INPUTS = (
    "Tensor u, Tensor v, Tensor bias, Tensor? c0, Tensor? c_reset, Tensor? x, Tensor? mask_c, Tensor? marks, "
    "Tensor? cu_seqlens, bool bidirectional, str activation, float scale_x"
)
_OPERATORS = Recurrence(
    "sru_pieces",
    PieceInputs,
    (
        f"({_INPUTS}, bool save) -> (Tensor h, Tensor c_last, Tensor c)",
        f"({_INPUTS}, Tensor c, Tensor? grad_h, Tensor? grad_c_last) -> (Tensor grad_u, Tensor grad_v, "
        "Tensor grad_bias, Tensor grad_c0, Tensor grad_c_reset, Tensor grad_x)",
    ),
    kernels=KERNELS,
    triton=TRITON,
    plain=PLAIN,
    results=RESULTS,
    choose=lambda inputs: backend.active(inputs.u.device),
    count_flops=count_flops,
    differentiate_twice=by_reference(lambda inputs: reference.by_marks(*inputs)),
)
