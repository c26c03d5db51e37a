"""The SRU recurrence as the operators `sru_nn::sru_forward` and `sru_nn::sru_backward`.

Registered with `torch.library`, so that autograd, `torch.compile` and `torch.export` see one operator each
way. Pointers are taken here and nowhere else. The arguments have been checked by `sru_nn.functional`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_nn.reference import accumulate_dtype

_INPUTS = (
    "Tensor u, Tensor v, Tensor bias, Tensor? c0, Tensor? x, Tensor? mask_c, Tensor? mask_pad, "
    "bool bidirectional, str activation, float scale_x"
)

torch.library.define("sru_nn::sru_forward", f"({_INPUTS}, bool save) -> (Tensor h, Tensor c_last, Tensor c)")
torch.library.define(
    "sru_nn::sru_backward",
    f"(Tensor? grad_h, Tensor? grad_c_last, Tensor c, {_INPUTS}) "
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
    """Compute `sru_nn.functional.sru_recurrence` with the kernels; the mask `mask_c` has no gradient."""
    dtype = accumulate_dtype(u.dtype)
    # The small ones in the accumulation dtype, so that a kernel is compiled for one dtype of them only.
    v, bias = v.to(dtype), bias.to(dtype)
    c0 = None if c0 is None else c0.to(dtype)
    mask_c = None if mask_c is None else mask_c.to(dtype)
    differentiable = (tensor for tensor in (u, v, bias, c0, x) if tensor is not None)
    save = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in differentiable)
    h, c_last, _ = torch.ops.sru_nn.sru_forward(
        u, v, bias, c0, x, mask_c, mask_pad, bidirectional, activation, scale_x, save
    )
    return h, c_last


@torch.library.register_fake("sru_nn::sru_forward")  # type: ignore[untyped-decorator]
def _forward_shapes(
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None,
    x: Tensor | None,
    mask_c: Tensor | None,
    mask_pad: Tensor | None,
    bidirectional: bool,
    activation: str,
    scale_x: float,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    length, batch, _, columns = u.shape
    dtype = accumulate_dtype(u.dtype)
    h = u.new_empty(length, batch, columns)
    c_last = u.new_empty(batch, columns, dtype=dtype)
    # An operator returns a tensor for each of its results; one that is not wanted is empty.
    c = u.new_empty((length, batch, columns) if save else (0,), dtype=dtype)
    return h, c_last, c


@torch.library.register_fake("sru_nn::sru_backward")  # type: ignore[untyped-decorator]
def _backward_shapes(
    grad_h: Tensor | None,
    grad_c_last: Tensor | None,
    c: Tensor,
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None,
    x: Tensor | None,
    mask_c: Tensor | None,
    mask_pad: Tensor | None,
    bidirectional: bool,
    activation: str,
    scale_x: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    grad_x = u.new_empty(0) if x is None else x.new_empty(x.shape)
    grad_c0 = c.new_empty(u.shape[1], u.shape[3])
    return u.new_empty(u.shape), v.new_empty(v.shape), bias.new_empty(bias.shape), grad_c0, grad_x


def _sizes(u: Tensor, bidirectional: bool, activation: str) -> dict[str, Any]:
    from sru_kernels import Activation, DType

    length, batch, gates, columns = u.shape
    directions = 2 if bidirectional else 1
    return {
        "dtype": getattr(DType, str(u.dtype).removeprefix("torch.")),
        "activation": getattr(Activation, activation),
        "length": length,
        "batch": batch,
        "hidden_size": columns // directions,
        "num_directions": directions,
        "num_gates": gates,
        "num_threads": torch.get_num_threads(),
    }


class _Pointers:
    """Data pointers of contiguous tensors, which live as long as this object."""

    def __init__(self) -> None:
        self._tensors: list[Tensor] = []

    def of(self, tensor: Tensor | None) -> int:
        if tensor is None:
            return 0
        tensor = tensor.contiguous()
        self._tensors.append(tensor)
        return tensor.data_ptr()


@torch.library.impl("sru_nn::sru_forward", "cpu")
def _forward_cpu(
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None,
    x: Tensor | None,
    mask_c: Tensor | None,
    mask_pad: Tensor | None,
    bidirectional: bool,
    activation: str,
    scale_x: float,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    from sru_kernels import cpu

    h, c_last, c = _forward_shapes(
        u, v, bias, c0, x, mask_c, mask_pad, bidirectional, activation, scale_x, save
    )
    pointers = _Pointers()
    cpu.sru_forward(
        **_sizes(u, bidirectional, activation),
        u=pointers.of(u),
        v=pointers.of(v),
        v_per_position=v.dim() == 4,
        bias=pointers.of(bias),
        c0=pointers.of(c0),
        x=pointers.of(x),
        scale_x=scale_x,
        mask_c=pointers.of(mask_c),
        mask_pad=pointers.of(mask_pad),
        h=h.data_ptr(),
        c=c.data_ptr() if save else 0,
        c_last=c_last.data_ptr(),
    )
    return h, c_last, c


@torch.library.impl("sru_nn::sru_backward", "cpu")
def _backward_cpu(
    grad_h: Tensor | None,
    grad_c_last: Tensor | None,
    c: Tensor,
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None,
    x: Tensor | None,
    mask_c: Tensor | None,
    mask_pad: Tensor | None,
    bidirectional: bool,
    activation: str,
    scale_x: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    from sru_kernels import cpu

    _, batch, _, columns = u.shape
    per_position = v.dim() == 4
    grad_u, grad_c0 = u.new_empty(u.shape), c.new_empty(batch, columns)
    grad_x = u.new_empty(0 if x is None else x.shape)
    # One sum over time for each sequence: the sum over the batch is the caller's, in an order that is fixed.
    grad_v = v.new_empty(v.shape if per_position else (2, batch, columns))
    grad_bias = bias.new_empty(2, batch, columns)
    pointers = _Pointers()
    cpu.sru_backward(
        **_sizes(u, bidirectional, activation),
        u=pointers.of(u),
        v=pointers.of(v),
        v_per_position=per_position,
        bias=pointers.of(bias),
        c0=pointers.of(c0),
        x=pointers.of(x),
        scale_x=scale_x,
        mask_c=pointers.of(mask_c),
        mask_pad=pointers.of(mask_pad),
        c=c.data_ptr(),
        grad_h=pointers.of(grad_h),
        grad_c_last=pointers.of(grad_c_last),
        grad_u=grad_u.data_ptr(),
        grad_x=0 if x is None else grad_x.data_ptr(),
        grad_v=grad_v.data_ptr(),
        grad_bias=grad_bias.data_ptr(),
        grad_c0=grad_c0.data_ptr(),
    )
    return grad_u, grad_v if per_position else grad_v.sum(1), grad_bias.sum(1), grad_c0, grad_x


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    u, v, bias, c0, x, mask_c, mask_pad, ctx.bidirectional, ctx.activation, ctx.scale_x, ctx.saved = inputs
    ctx.save_for_backward(output[2], u, v, bias, c0, x, mask_c, mask_pad)
    ctx.mark_non_differentiable(output[2])
    # A result that nothing was computed from has no gradient, rather than zeros as large as itself.
    ctx.set_materialize_grads(False)


def _backward(
    ctx: Any, grad_h: Tensor | None, grad_c_last: Tensor | None, _: None
) -> tuple[Tensor | None, ...]:
    if not ctx.saved:
        raise RuntimeError("sru_nn::sru_forward: a gradient needs save=True")
    c, u, v, bias, c0, x, mask_c, mask_pad = ctx.saved_tensors
    grad_u, grad_v, grad_bias, grad_c0, grad_x = torch.ops.sru_nn.sru_backward(
        grad_h,
        grad_c_last,
        c,
        u,
        v,
        bias,
        c0,
        x,
        mask_c,
        mask_pad,
        ctx.bidirectional,
        ctx.activation,
        ctx.scale_x,
    )
    return (
        grad_u,
        grad_v,
        grad_bias,
        None if c0 is None else grad_c0,
        None if x is None else grad_x,
        *[None] * 6,
    )


torch.library.register_autograd("sru_nn::sru_forward", _backward, setup_context=_save_for_backward)


def _refuse_double_backward(ctx: Any, *_: Any) -> tuple[None, ...]:
    raise RuntimeError(
        "sru_recurrence: the kernels have no second derivative; choose the backend 'reference' "
        "(sru_nn.backend.using('reference')) for the forward pass"
    )


torch.library.register_autograd("sru_nn::sru_backward", _refuse_double_backward)
