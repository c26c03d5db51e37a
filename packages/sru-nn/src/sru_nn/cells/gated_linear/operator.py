"""The gated linear recurrence as the operators `sru_nn::gated_linear_forward` and `_backward`, on any device.

They use the kernels where possible, step by step on a CPU and in chunks on a GPU; otherwise Triton on a GPU
and plain PyTorch elsewhere, both in chunks. All save the states before each chunk. The arguments have already
been checked by `arguments.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sru_nn.cells.gated_linear import chunks, pieces, reference
from sru_nn.cells.gated_linear.chunks import Inputs
from sru_nn.cells.gated_linear.plain import PieceInputs as PieceInputs
from sru_nn.dtypes import accumulate_dtype
from sru_nn.operators import is_one, is_recorded, is_transformed
from sru_nn.pieces import marks as make_marks
from sru_nn.recurrence import Passes, Recurrence, by_reference


def gated_linear_recurrence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_g: Tensor,
    s0: Tensor | None,
    *,
    mask_pad: Tensor | None,
    reset: Tensor | None = None,
    s_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.gated_linear_recurrence` in the fastest way available."""
    inputs = Inputs(q, k, v, log_g, s0)
    chosen = None if is_recorded() else pieces.choose(inputs)
    # Chunks gain nothing for a single step.
    if is_transformed() or (chosen != "kernels" and is_one(q.shape[0])):
        return reference.gated_linear_recurrence(
            *inputs, mask_pad=mask_pad, reset=reset, s_reset=s_reset, cu_seqlens=cu_seqlens
        )
    if mask_pad is not None:
        q, k, v, log_g = reference.without_padding(mask_pad, q, k, v, log_g)
    # Convert log_g and s0 to the accumulation dtype, the only one that kernels are compiled for.
    dtype = accumulate_dtype(q.dtype)
    inputs = Inputs(q, k, v, log_g.to(dtype), None if s0 is None else s0.to(dtype))
    if reset is None and cu_seqlens is None:
        return _OPERATORS(chosen, inputs)
    s_reset = None if s_reset is None else s_reset.to(dtype)
    marks = None if reset is None else make_marks(mask_pad, reset, False)
    offsets = None if cu_seqlens is None else cu_seqlens.to(torch.int64)
    return pieces.run(chosen, PieceInputs(*inputs, s_reset, marks, offsets))


def _passes(of_pieces: Passes) -> Passes:
    """Return the passes of `gated_linear_pieces` with the inputs and gradients of `gated_linear`."""

    def backward(inputs: Inputs, *saved: Tensor | None) -> tuple[Tensor, ...]:
        return of_pieces.backward(PieceInputs(*inputs), *saved)[:5]

    return Passes(lambda inputs, save: of_pieces.forward(PieceInputs(*inputs), save), backward)


_INPUTS = "Tensor q, Tensor k, Tensor v, Tensor log_g"
_OPERATORS = Recurrence(
    "gated_linear",
    Inputs,
    (
        f"({_INPUTS}, Tensor? s0, bool save) -> (Tensor o, Tensor s, Tensor starts)",
        f"({_INPUTS}, Tensor starts, Tensor? grad_o, Tensor? grad_s) "
        "-> (Tensor grad_q, Tensor grad_k, Tensor grad_v, Tensor grad_log_g, Tensor grad_s0)",
    ),
    kernels=_passes(pieces.KERNELS),
    triton=_passes(pieces.TRITON),
    plain=Passes(chunks.forward, chunks.backward),
    results=_passes(pieces.RESULTS),
    choose=pieces.choose,
    count_flops=lambda inputs: pieces.count_flops(PieceInputs(*inputs)),
    differentiate_twice=by_reference(lambda given: reference.gated_linear_recurrence(*given)),
)
