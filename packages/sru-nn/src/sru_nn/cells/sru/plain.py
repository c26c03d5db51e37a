"""The two operators of the SRU in plain PyTorch: for compiled graphs on a machine without the kernels.

A graph holds the operator instead of the loop of the reference, which would be unrolled again for each
length. An operator runs below autograd, so the gradients are written out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_nn import pieces
from sru_nn.cells.sru.reference import (
    activate,
    by_marks,
    read_inputs,
    read_starts,
    reverse_second_direction,
    sru_states,
)


class Inputs(NamedTuple):
    """The inputs of both operators, in the order of their schemas; shapes as for `sru_recurrence`."""

    u: Tensor
    v: Tensor
    bias: Tensor
    c0: Tensor | None = None
    x: Tensor | None = None
    mask_c: Tensor | None = None
    mask_pad: Tensor | None = None
    bidirectional: bool = False
    activation: str = "identity"
    scale_x: float = 1.0


class PieceInputs(NamedTuple):
    """The inputs of both operators for rows of several sequences, in the order of their schemas.

    Shapes are as for `sru_recurrence`; `marks` is as in `sru_nn.pieces`, or a bool padding mask.
    """

    u: Tensor
    v: Tensor
    bias: Tensor
    c0: Tensor | None = None
    c_reset: Tensor | None = None
    x: Tensor | None = None
    mask_c: Tensor | None = None
    marks: Tensor | None = None
    cu_seqlens: Tensor | None = None
    bidirectional: bool = False
    activation: str = "identity"
    scale_x: float = 1.0


def in_pieces(inputs: Inputs) -> PieceInputs:
    """Return the same inputs in the more general form."""
    u, v, bias, c0, x, mask_c, mask_pad, *options = inputs
    return PieceInputs(u, v, bias, c0, None, x, mask_c, mask_pad, None, *options)  # type: ignore[arg-type]


def forward(inputs: PieceInputs, save: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return `h`, `c_last` and, with `save`, the states after each position `(T, B, N·D)`."""
    cu_seqlens = inputs.cu_seqlens
    if cu_seqlens is not None:
        h, c_last, c = forward(_padded_out(inputs, cu_seqlens), save)
        h = pieces.lay_end_to_end(h, cu_seqlens)
        return h, c_last, None if c is None else pieces.lay_end_to_end(c, cu_seqlens)
    walked: list[Tensor] = []

    def walk(*given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = sru_states(*given)
        walked.append(states[1])
        return states

    h, c_last = by_marks(*inputs, states=walk)
    (c,) = walked
    # The results of an operator must not share memory with its arguments.
    c = reverse_second_direction(c) if inputs.bidirectional else c.clone()
    return h, c_last.clone(), c if save else None


def backward(
    inputs: PieceInputs, c: Tensor, grad_h: Tensor | None, grad_c_last: Tensor | None
) -> tuple[Tensor, ...]:
    """Return the gradients of `u`, `v`, `bias`, `c0`, `c_reset` and `x`.

    With G_t the gradient of c_t and â the gradient of a pre-activation a,

        û_r = ĥ ⊙ (g(c_t) − x') ⊙ m ⊙ r (1 − r)        û_f = G_t ⊙ (c_{t-1} − u_c) ⊙ f (1 − f)
        G_{t-1} = f ⊙ G_t + v_f ⊙ û_f + v_r ⊙ û_r + ĥ_{t-1} ⊙ m r_{t-1} ⊙ g'(c_{t-1})

    Where a direction restarts, c_{t-1} is `c_reset`, which receives the gradient in place of G_{t-1}.
    """
    cu_seqlens = inputs.cu_seqlens
    if cu_seqlens is not None:
        return _backward_padded_out(inputs, cu_seqlens, c, grad_h, grad_c_last)
    u, v, bias, c0, c_reset, x, mask_c, marks, _, bidirectional, activation, scale_x = inputs
    mask_pad = None if marks is None else pieces.padding(marks)
    read = read_inputs(u, v, bias, x, mask_pad, bidirectional, scale_x)
    u_c, u_f, u_r, v_f, v_r, highway, pad = read
    starts = None
    if marks is not None and marks.dtype != torch.bool:
        starts = read_starts(marks, u.shape[3], bidirectional)

    def turn(tensor: Tensor) -> Tensor:
        return reverse_second_direction(tensor) if bidirectional else tensor

    c0 = bias.new_zeros(c.shape[1:]) if c0 is None else c0
    states = torch.cat([c0.unsqueeze(0), turn(c)])
    before, c = states[:-1], states[1:]
    if starts is not None:
        before = torch.where(starts, bias.new_zeros(()) if c_reset is None else c_reset, before)
    f = torch.sigmoid(u_f + v_f * before)
    r = torch.sigmoid(u_r + v_r * before)
    m = u_c.new_ones(()) if mask_c is None else mask_c
    g = activate(c, activation)
    slope = 1 - g * g if activation == "tanh" else (g > 0).to(g.dtype) if activation == "relu" else 1.0

    grad_h = torch.zeros_like(c) if grad_h is None else turn(grad_h.to(c.dtype))
    if pad is not None:
        grad_h = grad_h.masked_fill(pad, 0.0)
    grad_r = grad_h * (g if highway is None else g - highway) * m * r * (1 - r)
    direct, through_r = grad_h * m * r * slope, v_r * grad_r
    f_by_pre = (before - u_c) * f * (1 - f)
    factor = f + v_f * f_by_pre
    grad = torch.zeros_like(c0) if grad_c_last is None else grad_c_last
    grad_c, grad_c_reset = torch.empty_like(c), torch.zeros_like(c0)
    for t in reversed(range(len(c))):
        grad_c[t] = direct[t] + grad
        grad = torch.addcmul(through_r[t], factor[t], grad_c[t])
        if starts is not None:
            grad_c_reset += grad.masked_fill(~starts[t], 0.0)
            grad = grad.masked_fill(starts[t], 0.0)
    grad_f = grad_c * f_by_pre

    grad_highway = grad_h * (1 - m * r)
    grad_u = [grad_c * (1 - f), grad_f, grad_r, grad_highway][: u.shape[2]]
    grad_v = torch.stack([grad_f * before, grad_r * before], 2)
    return (
        turn(torch.stack(grad_u, 2)).to(u.dtype).contiguous(),
        turn(grad_v).contiguous() if v.dim() == 4 else grad_v.sum((0, 1)),
        torch.stack([grad_f.sum((0, 1)), grad_r.sum((0, 1))]),
        grad.clone(),
        u.new_empty(0) if c_reset is None else grad_c_reset.sum(0),
        u.new_empty(0) if x is None else turn(grad_highway * scale_x).to(x.dtype).contiguous(),
    )


def _padded_out(inputs: PieceInputs, cu_seqlens: Tensor) -> PieceInputs:
    """Return the inputs with the sequences as a padded batch instead of `cu_seqlens`."""
    names = ["u", *["x"] * (inputs.x is not None), *["v"] * (inputs.v.dim() == 4)]
    padded, marks = pieces.pad_out(cu_seqlens, *(getattr(inputs, name) for name in names))
    changes: dict[str, Any] = dict(zip(names, padded, strict=True))
    return inputs._replace(**changes, marks=marks, cu_seqlens=None)


def _backward_padded_out(
    inputs: PieceInputs, cu_seqlens: Tensor, c: Tensor, grad_h: Tensor | None, grad_c_last: Tensor | None
) -> tuple[Tensor, ...]:
    (c,), mask_pad = pieces.pad_out(cu_seqlens, c)
    if inputs.c0 is not None:  # the second direction begins with the padding
        c = torch.where(mask_pad.unsqueeze(2), inputs.c0, c)
    grad_h = None if grad_h is None else pieces.pad_out(cu_seqlens, grad_h)[0][0]
    found = list(backward(_padded_out(inputs, cu_seqlens), c, grad_h, grad_c_last))
    for i in (0, *[1] * (inputs.v.dim() == 4), *[5] * (inputs.x is not None)):
        found[i] = pieces.lay_end_to_end(found[i], cu_seqlens)
    return tuple(found)
