"""The SRU recurrence as the operators `sru_nn::sru_forward` and `sru_nn::sru_backward`.

Registered with `torch.library`, so that autograd, `torch.compile` and `torch.export` see one operator each
way, on any device and with or without kernels: what runs it is chosen when it runs. Pointers are taken
inside of them alone. The arguments have been checked by `sru_nn.functional`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_nn import backend
from sru_nn.cells.sru import plain as sru_plain
from sru_nn.eager import is_plain
from sru_nn.kernel_calls import activation_member, address, run_kernel, storage_dtype
from sru_nn.reference import accumulate_dtype


class Inputs(NamedTuple):
    """What both operators read, in the order of their schemas; shapes as for `sru_recurrence`."""

    u: Tensor
    v: Tensor
    bias: Tensor
    c0: Tensor | None
    x: Tensor | None
    mask_c: Tensor | None
    mask_pad: Tensor | None
    bidirectional: bool
    activation: str
    scale_x: float


_SCHEMA = (
    "Tensor u, Tensor v, Tensor bias, Tensor? c0, Tensor? x, Tensor? mask_c, Tensor? mask_pad, "
    "bool bidirectional, str activation, float scale_x"
)
torch.library.define("sru_nn::sru_forward", f"({_SCHEMA}, bool save) -> (Tensor h, Tensor c_last, Tensor c)")
torch.library.define(
    "sru_nn::sru_backward",
    f"({_SCHEMA}, Tensor c, Tensor? grad_h, Tensor? grad_c_last) "
    "-> (Tensor grad_u, Tensor grad_v, Tensor grad_bias, Tensor grad_c0, Tensor grad_x)",
)


def sru_recurrence(
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None,
    *,
    x: Tensor | None,
    bidirectional: bool,
    activation: str,
    scale_x: float,
    mask_c: Tensor | None,
    mask_pad: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.sru_recurrence` by the operators; the mask `mask_c` has no gradient."""
    # The small ones in the accumulation dtype, so that a kernel is compiled for one dtype of them only.
    dtype = accumulate_dtype(u.dtype)
    v, bias = v.to(dtype), bias.to(dtype)
    c0 = None if c0 is None else c0.to(dtype)
    mask_c = None if mask_c is None else mask_c.to(dtype)
    inputs = Inputs(u, v, bias, c0, x, mask_c, mask_pad, bidirectional, activation, scale_x)
    differentiable = (u, v, bias, c0, x)
    save = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in differentiable)
    if is_plain(u, v, bias, c0, x, mask_c, mask_pad):
        # What the dispatcher takes, half a millisecond both ways, is a good part of a decoding step, and of
        # a training step of a small model.
        return _Recurrence.apply(*inputs) if save else _run_forward(inputs)  # type: ignore[no-untyped-call]
    h, c_last, _ = torch.ops.sru_nn.sru_forward(*inputs, save)
    return h, c_last


@torch.library.register_fake("sru_nn::sru_forward")  # type: ignore[untyped-decorator]
def _forward_results(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    inputs, save = Inputs(*args[:-1]), args[-1]
    length, batch, _, columns = inputs.u.shape
    h, c_last = inputs.u.new_empty(length, batch, columns), inputs.bias.new_empty(batch, columns)
    return h, c_last, inputs.bias.new_empty(_states_shape(inputs, save))


def _states_shape(inputs: Inputs, save: bool) -> tuple[int, ...]:
    length, batch, _, columns = inputs.u.shape
    # An operator returns a tensor for each of its results; one that is not wanted is empty.
    return (length, batch, columns) if save else (0,)


@torch.library.register_fake("sru_nn::sru_backward")  # type: ignore[untyped-decorator]
def _backward_results(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    inputs, c = Inputs(*args[:-3]), args[-3]
    _, batch, _, columns = inputs.u.shape
    u, v, bias, x = inputs.u, inputs.v, inputs.bias, inputs.x
    grad_x = u.new_empty(0) if x is None else x.new_empty(x.shape)
    grad_c0 = c.new_empty(batch, columns)
    return u.new_empty(u.shape), v.new_empty(v.shape), bias.new_empty(bias.shape), grad_c0, grad_x


def _forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    inputs, save = Inputs(*args[:-1]), args[-1]
    if backend.active(inputs.u.device) == "reference":
        h, c_last, states = sru_plain.forward(inputs)
        return h, c_last, states if save else states.new_empty(0)
    states = inputs.bias.new_empty(_states_shape(inputs, save))
    h, c_last = _run_forward(inputs, states if save else None)
    return h, c_last, states


def _run_forward(inputs: Inputs, states: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return `h` and `c_last`; write the states into `states` if they are wanted."""
    import sru_kernels

    length, batch, _, columns = inputs.u.shape
    h, c_last = inputs.u.new_empty(length, batch, columns), inputs.bias.new_empty(batch, columns)
    held: list[Tensor] = []
    outputs = (h.data_ptr(), 0 if states is None else states.data_ptr(), c_last.data_ptr())
    args = sru_kernels.SruForward._make((*_arguments(inputs, held), *outputs))
    run_kernel("sru_forward", args, inputs.u.device)
    return h, c_last


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
    """Take one step of one layer of a stack on the CPU, projection included; no mask, gradient or check.

    All arrays are contiguous; the states, `v` and `bias` are in the accumulation dtype, the rest in one
    storage dtype. Directions are nothing but columns here.

    Args:
        x: `(1, B, E)`, the input of the projection.
        weight: `(K·N·D, E)`, that of the projection; int8 with a `weight_scale`.
        v: `(2·N·D,)`.
        bias: `(2·N·D,)`.
        c0: `(L, B, N·D)`, the states of all layers; zeros if None.
        highway: `(1, B, N·D)`; None if there is no highway, or u has four gates.
        c_last: `(L, B, N·D)`, takes the new state of the layer.
        layer: Which of the L layers this is.
        activation: As for `sru_recurrence`.
        scale_x: The factor of `highway`.
        weight_scale: `(K·N·D,)`, the factor of each row of an int8 weight, in the accumulation dtype.

    Returns:
        `h`: `(1, B, N·D)`.
    """
    import sru_kernels

    _, batch, columns = c_last.shape
    outputs, inputs = weight.shape
    h = x.new_empty(1, batch, columns)
    offset = layer * batch * columns * c_last.element_size()
    args = (
        storage_dtype(x.dtype),
        activation_member(activation),
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
        *(() if weight_scale is None else (weight_scale.data_ptr(),)),
    )
    sru_kernels.cpu.sru_step(sru_kernels.SruStep(*args), num_threads=torch.get_num_threads())
    return h


def _backward(*given: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    inputs, (c, grad_h, grad_c_last) = Inputs(*given[:-3]), given[-3:]
    if backend.active(inputs.u.device) == "reference":
        return sru_plain.backward(inputs, c, grad_h, grad_c_last)
    import sru_kernels

    _, batch, _, columns = inputs.u.shape
    grad_u, grad_v, grad_bias, grad_c0, grad_x = _backward_results(*given)
    # One sum over time for each sequence; the sum over the batch follows, in an order that is fixed.
    per_position = inputs.v.dim() == 4
    if not per_position:
        grad_v = inputs.v.new_empty(2, batch, columns)
    grad_bias = inputs.bias.new_empty(2, batch, columns)
    held: list[Tensor] = []
    saved = [address(tensor, held) for tensor in (c, grad_h, grad_c_last)]
    wanted_x = None if inputs.x is None else grad_x
    outputs = [address(tensor, held) for tensor in (grad_u, wanted_x, grad_v, grad_bias, grad_c0)]
    args = sru_kernels.SruBackward._make((*_arguments(inputs, held), *saved, *outputs))
    run_kernel("sru_backward", args, inputs.u.device)
    return grad_u, grad_v if per_position else grad_v.sum(1), grad_bias.sum(1), grad_c0, grad_x


torch.library.impl("sru_nn::sru_forward", "default", _forward)
torch.library.impl("sru_nn::sru_backward", "default", _backward)


def _arguments(inputs: Inputs, held: list[Tensor]) -> tuple[Any, ...]:
    """Return the fields that `SruForward` and `SruBackward` begin with, in their order.

    What had to be made contiguous for a kernel stays in `held`.
    """
    length, batch, gates, columns = inputs.u.shape
    directions = 2 if inputs.bidirectional else 1
    return (
        storage_dtype(inputs.u.dtype),
        activation_member(inputs.activation),
        length,
        batch,
        columns // directions,
        directions,
        gates,
        *[address(tensor, held) for tensor in inputs[:7]],
        inputs.scale_x,
        inputs.v.dim() == 4,
    )


class _Recurrence(torch.autograd.Function):
    """What the operators do, on the kernels, for tensors that nothing but autograd watches."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor]:
        inputs = Inputs(*given)
        states = inputs.bias.new_empty(_states_shape(inputs, True))
        _save(ctx, given, states)
        return _run_forward(inputs, states)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return _gradients(ctx, *grads)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *given, ctx.saved = inputs
    ctx.mark_non_differentiable(output[2])
    _save(ctx, given, output[2])


def _save(ctx: Any, given: Sequence[Any], states: Tensor) -> None:
    *tensors, ctx.bidirectional, ctx.activation, ctx.scale_x = given
    ctx.save_for_backward(*tensors, states)
    # A result that nothing was computed from has no gradient, rather than zeros as large as itself.
    ctx.set_materialize_grads(False)


def _differentiate(
    ctx: Any, grad_h: Tensor | None, grad_c_last: Tensor | None, _: None
) -> tuple[Tensor | None, ...]:
    if not ctx.saved:
        raise RuntimeError("sru_nn::sru_forward: a gradient needs save=True")
    return *_gradients(ctx, grad_h, grad_c_last), None


def _gradients(ctx: Any, grad_h: Tensor | None, grad_c_last: Tensor | None) -> tuple[Tensor | None, ...]:
    *tensors, c = ctx.saved_tensors
    inputs = Inputs._make((*tensors, ctx.bidirectional, ctx.activation, ctx.scale_x))
    # With gradients on, somebody wants to differentiate twice, and the operator says that it cannot.
    watched = torch.is_grad_enabled() or not is_plain(*tensors, c, grad_h, grad_c_last)
    run = torch.ops.sru_nn.sru_backward if watched else _backward
    grad_u, grad_v, grad_bias, grad_c0, grad_x = run(*inputs, c, grad_h, grad_c_last)
    return (
        grad_u,
        grad_v,
        grad_bias,
        None if inputs.c0 is None else grad_c0,
        None if inputs.x is None else grad_x,
        *[None] * 5,
    )


torch.library.register_autograd("sru_nn::sru_forward", _differentiate, setup_context=_save_for_backward)


def _refuse_double_backward(ctx: Any, *_: Any) -> tuple[None, ...]:
    raise RuntimeError(
        "sru_recurrence: the kernels have no second derivative; choose the backend 'reference' "
        "(sru_nn.backend.using('reference')) for the forward pass"
    )


torch.library.register_autograd("sru_nn::sru_backward", _refuse_double_backward)
