"""The two operators of the SRU in plain PyTorch: for compiled graphs on a machine without the kernels.

A graph holds the operator and not the loop of the reference, which would be unrolled in it for each length
anew. An operator runs below autograd, so the gradients are written out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sru_nn.cells.sru.reference import (
    activate,
    read_inputs,
    reverse_second_direction,
    sru_recurrence,
    sru_states,
)


class Inputs(NamedTuple):
    """What both operators read, in the order of their schemas; shapes as for `sru_recurrence`."""

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


def forward(inputs: Inputs, save: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return `h`, `c_last` and, with `save`, the states after each position `(T, B, N·D)`."""
    walked: list[Tensor] = []

    def walk(u_c: Tensor, u_f: Tensor, v_f: Tensor, c0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = sru_states(u_c, u_f, v_f, c0)
        walked.append(states[1])
        return states

    h, c_last = sru_recurrence(**inputs._asdict(), states=walk)
    (c,) = walked
    # The results of an operator may not share memory with its arguments.
    c = reverse_second_direction(c) if inputs.bidirectional else c.clone()
    return h, c_last.clone(), c if save else None


def backward(
    inputs: Inputs, c: Tensor, grad_h: Tensor | None, grad_c_last: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of `u`, `v`, `bias`, `c0` and `x`.

    With G_t the gradient of c_t and â the gradient of a pre-activation a,

        û_r = ĥ ⊙ (g(c_t) − x') ⊙ m ⊙ r (1 − r)        û_f = G_t ⊙ (c_{t-1} − u_c) ⊙ f (1 − f)
        G_{t-1} = f ⊙ G_t + v_f ⊙ û_f + v_r ⊙ û_r + ĥ_{t-1} ⊙ m r_{t-1} ⊙ g'(c_{t-1})
    """
    u, v, bias, c0, x, mask_c, mask_pad, bidirectional, activation, scale_x = inputs
    read = read_inputs(u, v, bias, x, mask_pad, bidirectional, scale_x)
    u_c, u_f, u_r, v_f, v_r, highway, pad = read

    def turn(tensor: Tensor) -> Tensor:
        return reverse_second_direction(tensor) if bidirectional else tensor

    c0 = bias.new_zeros(c.shape[1:]) if c0 is None else c0
    states = torch.cat([c0.unsqueeze(0), turn(c)])
    before, c = states[:-1], states[1:]
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
    grad_c = torch.empty_like(c)
    for t in reversed(range(len(c))):
        grad_c[t] = direct[t] + grad
        grad = torch.addcmul(through_r[t], factor[t], grad_c[t])
    grad_f = grad_c * f_by_pre

    grad_highway = grad_h * (1 - m * r)
    grad_u = [grad_c * (1 - f), grad_f, grad_r, grad_highway][: u.shape[2]]
    grad_v = torch.stack([grad_f * before, grad_r * before], 2)
    return (
        turn(torch.stack(grad_u, 2)).to(u.dtype).contiguous(),
        turn(grad_v).contiguous() if v.dim() == 4 else grad_v.sum((0, 1)),
        torch.stack([grad_f.sum((0, 1)), grad_r.sum((0, 1))]),
        grad.clone(),
        u.new_empty(0) if x is None else turn(grad_highway * scale_x).to(x.dtype).contiguous(),
    )
