"""The gated linear recurrence over rows of several sequences.

The operators `sru_nn::gated_linear_pieces_forward` and `_backward` generalise `sru_nn::gated_linear_forward`
and `_backward`: they also replace the state within a row, with `s_reset` at `marks` and, for concatenated
sequences, at `cu_seqlens`. The state before chunk j of concatenated sequence s is saved at index
`cu_seqlens[s] // CHUNK + s + j`. Padding has already been removed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_nn import backend
from sru_nn.cells.gated_linear import chunks, plain, reference
from sru_nn.cells.gated_linear.plain import PieceInputs as PieceInputs
from sru_nn.dtypes import accumulate_dtype
from sru_nn.kernels import kernels, run_kernel
from sru_nn.recurrence import Passes, Recurrence, by_reference, passes_of


def run(chosen: backend.Backend | None, inputs: PieceInputs) -> tuple[Tensor, Tensor]:
    """Run the operators on a backend; if it is None, they choose one."""
    return _OPERATORS(chosen, inputs)


def choose(inputs: Any) -> backend.Backend:
    """Return the backend that runs the operators; heads too large for a GPU's kernels use another."""
    chosen, q, v = backend.active(inputs.q.device), inputs.q, inputs.v
    if chosen != "kernels" or q.is_cpu:
        return chosen
    package, constants = kernels()
    fits = package.cuda.gated_linear_fits(constants[q.dtype], q.shape[-1], v.shape[-1])
    return chosen if fits else _without_kernels(q.device)


def _without_kernels(device: torch.device) -> backend.Backend:
    try:
        with backend.using("triton"):
            return backend.active(device)
    except RuntimeError:  # Triton cannot run there
        return "reference"


def results(inputs: PieceInputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return `o`, the last states and those before each chunk (none without `save`), uninitialised."""
    q, v = inputs.q, inputs.v
    length, batch, heads, key_size = q.shape
    rows = _rows(inputs)
    count = chunks.count_chunks(length) if inputs.cu_seqlens is None else length // chunks.CHUNK + rows
    s = q.new_empty(rows, heads, key_size, v.shape[-1], dtype=accumulate_dtype(q.dtype))
    return q.new_empty(v.shape), s, s.new_empty(count if save else 0, batch * heads, key_size, v.shape[-1])


def gradients(inputs: PieceInputs, *_: Any) -> tuple[Tensor, ...]:
    """Return the gradients of `q`, `k`, `v`, `log_g`, `s0` and `s_reset`, uninitialised."""
    s = results(inputs, False)[1]
    grad_s_reset = s.new_empty(0 if inputs.s_reset is None else s.shape[1:])
    return *(x.new_empty(x.shape) for x in inputs[:4]), s, grad_s_reset


def count_flops(inputs: PieceInputs) -> int:
    """Return the number of floating-point operations in the equations, step by step."""
    length, batch, heads, key_size = inputs.q.shape
    # One for the gate; then for each value three for the new state and two for its product with the query.
    return length * batch * heads * key_size * (1 + 5 * inputs.v.shape[-1])


def forward(inputs: PieceInputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the results with the kernel."""
    o, s, starts = results(inputs, save)
    run_kernel("gated_linear_forward", o, *_fields(inputs), inputs.s0, o, s, starts if save else None)
    return o, s, starts


def backward(inputs: PieceInputs, *saved: Tensor | None) -> tuple[Tensor, ...]:
    """Compute the gradients with the kernel."""
    *found, grad_s0, grad_s_reset = gradients(inputs)
    # The kernel sums over time for each sequence. The batch is then summed in a fixed order.
    of_rows = None if inputs.s_reset is None else grad_s0.new_empty(grad_s0.shape)
    run_kernel("gated_linear_backward", inputs.q, *_fields(inputs), *saved, *found, grad_s0, of_rows)
    return *found, grad_s0, grad_s_reset if of_rows is None else of_rows.sum(0)


def _rows(inputs: PieceInputs) -> int:
    """Return the number of sequences that have a state."""
    return inputs.q.shape[1] if inputs.cu_seqlens is None else inputs.cu_seqlens.shape[0] - 1


def _fields(inputs: PieceInputs) -> tuple[Any, ...]:
    """Return the leading fields of both kernels, in order."""
    q, k, v, log_g, _, s_reset, marks, cu_seqlens = inputs
    sizes = (len(q), _rows(inputs), *q.shape[2:], v.shape[-1], chunks.CHUNK)
    return q.dtype, *sizes, q, k, v, log_g, marks, s_reset, cu_seqlens


def _of_reference(inputs: PieceInputs) -> tuple[Tensor, Tensor]:
    reset = None if inputs.cu_seqlens is not None else plain.begins(inputs)
    return reference.gated_linear_recurrence(
        *inputs[:5], reset=reset, s_reset=inputs.s_reset, cu_seqlens=inputs.cu_seqlens
    )


KERNELS = Passes(forward, backward)
RESULTS = Passes(results, gradients)
TRITON = passes_of("sru_nn.cells.gated_linear.triton")
_INPUTS = (
    "Tensor q, Tensor k, Tensor v, Tensor log_g, Tensor? s0, Tensor? s_reset, Tensor? marks, "
    "Tensor? cu_seqlens"
)
_OPERATORS = Recurrence(
    "gated_linear_pieces",
    PieceInputs,
    (
        f"({_INPUTS}, bool save) -> (Tensor o, Tensor s, Tensor starts)",
        f"({_INPUTS}, Tensor starts, Tensor? grad_o, Tensor? grad_s) -> (Tensor grad_q, Tensor grad_k, "
        "Tensor grad_v, Tensor grad_log_g, Tensor grad_s0, Tensor grad_s_reset)",
    ),
    kernels=KERNELS,
    triton=TRITON,
    plain=Passes(plain.forward, plain.backward),
    results=RESULTS,
    choose=choose,
    count_flops=count_flops,
    differentiate_twice=by_reference(_of_reference),
)
