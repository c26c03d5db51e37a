"""The two operators of the Li-GRU in plain PyTorch.

Only the product with the state has to wait for the previous step. The backward pass needs only the inputs and
the states: it recomputes these products from the states for many steps at once, and likewise the gradient of
the weight. Its loop over single steps contains only the gradient through the product.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sru_nn import pieces
from sru_nn.cells.ligru.reference import activate
from sru_nn.cells.ligru.rows import Rows, both_ways, from_rows, last_from_rows, read_rows, to_rows
from sru_nn.dtypes import accumulate_dtype, without_autocast
from sru_nn.gemm import add_product_, multiply

# Backward steps whose products are computed at once: enough for a GEMM, few enough for the caches.
_STEPS = 64


class Inputs(NamedTuple):
    """The inputs of both operators, in the order of their schemas; shapes as for `ligru_recurrence`.

    `marks` is as in `sru_nn.pieces`, or a bool padding mask.
    """

    u: Tensor
    weight: Tensor
    h0: Tensor | None = None
    h_reset: Tensor | None = None
    norm_weight: Tensor | None = None
    norm_bias: Tensor | None = None
    mask_h: Tensor | None = None
    marks: Tensor | None = None
    cu_seqlens: Tensor | None = None
    bidirectional: bool = False
    activation: str = "relu"
    norm_eps: float | None = None

    def in_accumulate_dtype(self) -> Inputs:
        """Return the inputs with the weight in the accumulation dtype."""
        return self._replace(weight=self.weight.to(accumulate_dtype(self.u.dtype)))

    def rows(self) -> Rows:
        """Convert the inputs to rows."""
        return read_rows(
            self.u, self.h0, self.h_reset, self.mask_h, self.marks, self.cu_seqlens, self.bidirectional
        )


def forward(inputs: Inputs, save: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return `h`, the last state and, with `save`, the states after each position `(T, B, N·D)`."""
    if inputs.cu_seqlens is not None:
        h, last, states = forward(_padded_out(inputs, inputs.cu_seqlens), save)
        laid = [x if x is None else pieces.lay_end_to_end(x, inputs.cu_seqlens) for x in (h, states)]
        return laid[0], last, laid[1]  # type: ignore[return-value]
    inputs, rows = inputs.in_accumulate_dtype(), inputs.rows()
    with without_autocast(inputs.u.device):
        walked, last = _walk(inputs, rows)
    states = from_rows(walked, inputs.bidirectional)
    h = states.to(inputs.u.dtype)
    if inputs.marks is not None:
        h = h.masked_fill(pieces.padding(inputs.marks).unsqueeze(2), 0.0)
    elif h is states:  # results of an operator must not share memory
        h = h.clone()
    return h, last_from_rows(last, inputs.bidirectional).clone(), states if save else None


def _walk(inputs: Inputs, rows: Rows) -> tuple[Tensor, Tensor]:
    """Return the states after each step `(T, R, D)`, and after the last one."""
    u, h, mask_h, starts, h_reset = rows
    weight = inputs.weight.t()
    states = u.new_empty(u.shape[0], *h.shape)
    for t, (u_t, state) in enumerate(zip(u.unbind(0), states.unbind(0), strict=True)):
        if starts is not None:
            h = torch.where(starts[t], h_reset, h)  # type: ignore[arg-type]
        if inputs.norm_eps is None:
            sums = torch.addmm(u_t, h, weight)
        else:
            sums = _normalized(inputs, h @ weight).add_(u_t)
        a, z = sums.chunk(2, -1)
        candidate = activate(a, inputs.activation)
        if mask_h is not None:
            candidate *= mask_h
        h = torch.lerp(candidate, h, z.sigmoid_(), out=state)
    return states, h


def _normalized(inputs: Inputs, product: Tensor) -> Tensor:
    assert inputs.norm_eps is not None
    return F.layer_norm(product, product.shape[-1:], inputs.norm_weight, inputs.norm_bias, inputs.norm_eps)


def backward(
    inputs: Inputs, states: Tensor, grad_h: Tensor | None, grad_last: Tensor | None
) -> tuple[Tensor, ...]:
    """Return the gradients of `u`, `weight`, `h0`, `h_reset`, `norm_weight` and `norm_bias`."""
    cu_seqlens, marks, both = inputs.cu_seqlens, inputs.marks, inputs.bidirectional
    if cu_seqlens is not None:
        (states,), mask_pad = pieces.pad_out(cu_seqlens, states)
        if inputs.h0 is not None:  # the second direction begins with the padding
            states = torch.where(mask_pad.unsqueeze(2), inputs.h0, states)
        grad_h = None if grad_h is None else pieces.pad_out(cu_seqlens, grad_h)[0][0]
        grad_u, *others = backward(_padded_out(inputs, cu_seqlens), states, grad_h, grad_last)
        return pieces.lay_end_to_end(grad_u, cu_seqlens), *others
    inputs, rows = inputs.in_accumulate_dtype(), inputs.rows()
    pad = None if marks is None else pieces.padding(marks).unsqueeze(2)
    states = to_rows(states, both)
    outer = torch.zeros_like(states)
    if grad_h is not None:
        outer = to_rows(grad_h.to(states.dtype), both)
        outer = outer if pad is None else outer.masked_fill(both_ways(pad, both), 0.0)
    grad = torch.zeros_like(rows.h) if grad_last is None else to_rows(grad_last.unsqueeze(0), both)[0]
    with without_autocast(inputs.u.device):
        grad_u, grad_weight, grad_h0, grad_h_reset, *of_norm = _gradients(inputs, rows, states, outer, grad)
    if both:
        grad_u = grad_u.chunk(2, 1)[0] + grad_u.chunk(2, 1)[1].flip(0)
    if pad is not None:
        grad_u = grad_u.masked_fill(pad.unsqueeze(3), 0.0)
    grad_h0, grad_h_reset = (last_from_rows(part, both) for part in (grad_h0, grad_h_reset))
    optional = (inputs.h_reset, inputs.norm_weight, inputs.norm_bias)
    found = (grad_h_reset.sum(0), *of_norm)
    return (
        grad_u.to(inputs.u.dtype).contiguous(),
        grad_weight,
        grad_h0.clone(),
        # Results of an operator must not share memory.
        *(grad.new_empty(0) if x is None else grad.clone() for x, grad in zip(optional, found, strict=True)),
    )


def _gradients(inputs: Inputs, rows: Rows, states: Tensor, outer: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of rows from those of the states, `outer`, and of the last state, `grad`.

    The results are those of u `(T, R, 2, D)`, the weight, the states before the first step and at starts, and
    the parameters of the norm.
    """
    (length, count, size), starts = states.shape, rows.starts
    grad_u, grad_starts = states.new_empty(length, count, 2, size), torch.zeros_like(grad)
    grad_weight = torch.zeros_like(inputs.weight)
    of_norm = grad_weight.new_zeros(2, 2 * size)
    before = torch.cat([rows.h.unsqueeze(0), states])[:-1]
    if starts is not None:
        before = torch.where(starts, rows.h_reset, before)  # type: ignore[arg-type]
    for first in reversed(range(0, length, _STEPS)):
        now = slice(first, first + _STEPS)
        norm, sums = None, multiply(before[now], inputs.weight)
        if inputs.norm_eps is not None:
            norm = _Norm(sums, inputs.norm_weight, inputs.norm_bias, inputs.norm_eps)
            sums = norm.output
        sums += rows.u[now]
        slopes, keep = _slopes(sums, before[now], rows.mask_h, inputs.activation)
        grad_sums = grad_u[now].copy_(slopes)
        grad_product = grad_sums.flatten(2) if norm is None else sums
        for t in reversed(range(len(keep))):
            grad = grad + outer[first + t]
            of_sums = grad_sums[t].mul_(grad.unsqueeze(1)).flatten(1)
            if norm is not None:
                of_sums = grad_product[t].copy_(norm.differentiate(of_sums, t))
            grad = torch.addmm(grad * keep[t], of_sums, inputs.weight)
            if starts is not None:
                grad_starts += grad.masked_fill(~starts[first + t], 0.0)
                grad = grad.masked_fill(starts[first + t], 0.0)
        add_product_(grad_weight, grad_product.flatten(0, 1).t(), before[now].flatten(0, 1))
        if norm is not None:
            of_norm += norm.of_parameters(grad_sums.flatten(2))
    return grad_u, grad_weight, grad, grad_starts, *of_norm


def _slopes(sums: Tensor, before: Tensor, mask_h: Tensor | None, activation: str) -> tuple[Tensor, Tensor]:
    """Return dh_t/d(a_t, z_t) `(T, R, 2, D)`, and z_t = dh_t/dh_{t-1} without the product `(T, R, D)`."""
    a, z = sums.chunk(2, -1)
    candidate, z = activate(a, activation), torch.sigmoid(z)
    if activation == "tanh":
        slope = 1 - candidate * candidate
    elif activation == "sin":
        slope = torch.cos(a)
    else:
        slope = (a > 0).to(a.dtype)
        slope = slope if activation == "relu" else torch.where(a > 0, slope, 0.01)
    if mask_h is not None:
        candidate, slope = candidate * mask_h, slope * mask_h
    write = 1 - z
    return torch.stack([write * slope, (before - candidate) * z * write], 2), z


class _Norm:
    """The layer norm of the products of some steps, differentiated step by step."""

    def __init__(self, product: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
        self.product, self.weight, self.bias = product, weight, bias
        self.shape = product.shape[-1:]
        self.output, self.mean, self.rstd = torch.native_layer_norm(product, self.shape, weight, bias, eps)

    def differentiate(self, grad: Tensor, t: int) -> Tensor:
        """Return the gradient of the product of step t from that of its norm."""
        given = (self.product[t], self.shape, self.mean[t], self.rstd[t], self.weight, self.bias)
        of_product = [True, False, False]
        return torch.ops.aten.native_layer_norm_backward(grad, *given, of_product)[0]  # type: ignore[no-any-return]

    def of_parameters(self, grad: Tensor) -> Tensor:
        """Return the gradients of the weight and of the bias from those of the outputs of the norm."""
        normalized = (self.product - self.mean) * self.rstd
        return torch.stack([(grad * normalized).sum((0, 1)), grad.sum((0, 1))])


def _padded_out(inputs: Inputs, cu_seqlens: Tensor) -> Inputs:
    """Return the inputs with the sequences as a padded batch instead of `cu_seqlens`."""
    (u,), mask_pad = pieces.pad_out(cu_seqlens, inputs.u)
    return inputs._replace(u=u, marks=mask_pad, cu_seqlens=None)
