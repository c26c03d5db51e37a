"""The SRU recurrence as the operators `sru_nn::sru_forward` and `sru_nn::sru_backward`.

The arguments have already been checked by `arguments.py`.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from sru_nn import backend
from sru_nn.cells.sru import pieces, plain, reference
from sru_nn.cells.sru.plain import Inputs as Inputs
from sru_nn.dtypes import in_accumulate_dtype
from sru_nn.experimental.length_parallel import LengthParallel
from sru_nn.kernels import kernels
from sru_nn.operators import is_recorded, is_transformed
from sru_nn.recurrence import Passes, Recurrence, by_reference, profiled


def sru_recurrence(
    inputs: Inputs,
    reset: Tensor | None = None,
    c_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    length_parallel: bool | LengthParallel = False,
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.sru_recurrence` in the fastest way available."""
    if length_parallel is not False:
        if reset is not None or cu_seqlens is not None:
            raise ValueError(
                "sru_recurrence: length_parallel takes no reset and no cu_seqlens; "
                "choose length_parallel=False"
            )
        if not is_transformed():
            return reference.sru_recurrence(**inputs._asdict(), states=_solver(length_parallel).states)
    mask_c = inputs.mask_c
    chosen = None if is_recorded() else backend.active(inputs.u.device)
    # The kernels compute no gradient for the dropout mask, which the modules draw at random. A graph contains
    # the operator on any device, because it would unroll the loop of the reference.
    if (
        is_transformed()
        or (mask_c is not None and mask_c.requires_grad)
        or (
            chosen == "reference" and cu_seqlens is None
        )  # concatenated sequences make the reference's loop long
    ):
        # Not _asdict, which the compiler of torch 2.6 cannot trace.
        fields: dict[str, Any] = dict(zip(Inputs._fields, inputs, strict=True))
        return reference.sru_recurrence(**fields, reset=reset, c_reset=c_reset, cu_seqlens=cu_seqlens)
    return run(chosen, inputs, reset, c_reset, cu_seqlens)


def _solver(length_parallel: object) -> LengthParallel:
    solver = LengthParallel() if length_parallel is True else length_parallel
    if not isinstance(solver, LengthParallel):
        raise TypeError(
            "sru_recurrence: length_parallel must be a bool or a LengthParallel, "
            f"got {type(length_parallel).__name__}"
        )
    if not torch.compiler.is_compiling():
        warnings.warn(
            "length_parallel is experimental and may be removed: sru_nn.experimental.length_parallel",
            FutureWarning,
            stacklevel=4,
        )
    return solver


def run(
    chosen: backend.Backend | None,
    inputs: Inputs,
    reset: Tensor | None = None,
    c_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the operators on a backend; if it is None, they choose one. `mask_c` has no gradient."""
    if reset is not None or cu_seqlens is not None:
        return pieces.run(chosen, inputs, reset, c_reset, cu_seqlens)
    u, v, bias, c0, x, mask_c, *rest = inputs
    v, bias, c0, mask_c = in_accumulate_dtype(u.dtype, v, bias, c0, mask_c)
    return _OPERATORS(chosen, Inputs(u, v, bias, c0, x, mask_c, *rest))  # type: ignore[arg-type]


def _passes(of_pieces: Passes) -> Passes:
    """Return the passes of `sru_pieces` with the inputs and gradients of `sru`."""

    def backward(inputs: Inputs, *saved: Tensor | None) -> tuple[Tensor, ...]:
        *grads, _, grad_x = of_pieces.backward(plain.in_pieces(inputs), *saved)
        return *grads, grad_x

    return Passes(lambda inputs, save: of_pieces.forward(plain.in_pieces(inputs), save), backward)


_INPUTS = (
    "Tensor u, Tensor v, Tensor bias, Tensor? c0, Tensor? x, Tensor? mask_c, Tensor? mask_pad, "
    "bool bidirectional, str activation, float scale_x"
)
_OPERATORS = Recurrence(
    "sru",
    Inputs,
    (
        f"({_INPUTS}, bool save) -> (Tensor h, Tensor c_last, Tensor c)",
        f"({_INPUTS}, Tensor c, Tensor? grad_h, Tensor? grad_c_last) "
        "-> (Tensor grad_u, Tensor grad_v, Tensor grad_bias, Tensor grad_c0, Tensor grad_x)",
    ),
    kernels=_passes(pieces.KERNELS),
    triton=_passes(pieces.TRITON),
    plain=_passes(pieces.PLAIN),
    results=_passes(pieces.RESULTS),
    choose=lambda inputs: backend.active(inputs.u.device),
    count_flops=lambda inputs: pieces.count_flops(plain.in_pieces(inputs)),
    differentiate_twice=by_reference(lambda inputs: reference.by_marks(*plain.in_pieces(inputs))),
)


def sru_step(
    x: Tensor,
    weight: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None,
    highway: Tensor | None,
    c_last: Tensor,
    layer: int,
    *,
    activation: str,
    scale_x: float,
    weight_scale: Tensor | None = None,
) -> Tensor:
    """Take one step of one layer on the CPU, including the projection, without masks, gradients or checks.

    All tensors are contiguous; the states, `v` and `bias` are in the accumulation dtype, the others in one
    storage dtype. Two directions are just more columns here.

    Args:
        x: `(1, B, E)`, the input of the projection.
        weight: `(K·N·D, E)`, the weight of the projection; int8 with a `weight_scale`.
        v: `(2·N·D,)`.
        bias: `(2·N·D,)`.
        c0: `(L, B, N·D)`, the states of all layers; zeros if None.
        highway: `(1, B, N·D)`; None without a highway term, or if u has four gates.
        c_last: `(L, B, N·D)`, receives the new state of the layer.
        layer: The index of the layer.
        activation: As for `sru_recurrence`.
        scale_x: The factor of `highway`.
        weight_scale: `(K·N·D,)`, the factor of each row of an int8 weight, in the accumulation dtype.

    Returns:
        `h`: `(1, B, N·D)`.
    """
    # Not run_kernel: its checks take a tenth of the time of a small step.
    package, constants = kernels()
    _, batch, columns = c_last.shape
    outputs, inputs = weight.shape
    h = x.new_empty(1, batch, columns)
    offset = layer * batch * columns * c_last.element_size()
    arguments = package.SruStep(
        constants[x.dtype],
        constants[activation],
        batch,
        inputs,
        columns,
        outputs // columns,
        weight.data_ptr(),
        x.data_ptr(),
        v.data_ptr(),
        bias.data_ptr(),
        0 if c0 is None else c0.data_ptr() + offset,
        0 if highway is None else highway.data_ptr(),
        scale_x,
        h.data_ptr(),
        c_last.data_ptr() + offset,
        0 if weight_scale is None else weight_scale.data_ptr(),
    )
    profiled("sru_step", package.cpu.sru_step, arguments, num_threads=torch.get_num_threads())
    return h
