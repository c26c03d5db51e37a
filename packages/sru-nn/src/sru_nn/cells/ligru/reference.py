"""The recurrence of Li-GRU and SLi-GRU in plain PyTorch, the oracle of its operators.

Written from the papers, with autograd for the gradients. Nothing here calls a kernel or checks an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sru_nn import pieces
from sru_nn.cells.ligru.rows import Rows, from_rows, last_from_rows, read_rows
from sru_nn.dtypes import accumulate_dtype, without_autocast

States = Callable[..., tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Product:
    """The recurrent term of the pre-activations: U h, with a layer norm if there is an `eps`."""

    weight: Tensor
    """`(2·D, D)`, U_h then U_z."""
    norm_weight: Tensor | None = None
    norm_bias: Tensor | None = None
    eps: float | None = None

    def __call__(self, h: Tensor) -> Tensor:
        """Map `(R, D)` to `(R, 2·D)`."""
        product = F.linear(h, self.weight)
        if self.eps is None:
            return product
        return F.layer_norm(product, product.shape[-1:], self.norm_weight, self.norm_bias, self.eps)


def activate(a: Tensor, activation: str) -> Tensor:
    """Apply the function g to the pre-activation of the candidate."""
    if activation == "tanh":
        return torch.tanh(a)
    if activation == "sin":
        return torch.sin(a)
    return F.leaky_relu(a) if activation == "leaky_relu" else torch.relu(a)


def ligru_states(rows: Rows, product: Callable[[Tensor], Tensor], activation: str) -> tuple[Tensor, Tensor]:
    """Walk over time: h_t = z_t ⊙ h_{t-1} + (1 − z_t) ⊙ m ⊙ g(a_t) with a_t, z_t from u_t + U h_{t-1}.

    Returns:
        `h`: `(T, R, D)`, the states after each step.
        `h_last`: `(R, D)`, the state after the last step.
    """
    u, h, mask_h, starts, h_reset = rows
    if u.shape[0] == 0:
        return u.chunk(2, -1)[0], h
    shape = (u.shape[0], *h.shape)
    over_time = [u]
    if mask_h is not None:
        over_time.append(mask_h.expand(shape))
    if starts is not None and h_reset is not None:
        over_time += [starts, h_reset.expand(shape)]
    states = []
    # unbind, not indexing: the gradient of an index is as large as the whole tensor.
    for u_t, *now in zip(*(tensor.unbind(0) for tensor in over_time), strict=True):
        if starts is not None:
            h = torch.where(now[-2], now[-1], h)  # not a product: the previous state may be NaN
        a, z = (u_t + product(h)).chunk(2, -1)
        candidate = activate(a, activation)
        if mask_h is not None:
            candidate = candidate * now[0]
        h = torch.lerp(candidate, h, torch.sigmoid(z))  # z ⊙ h + (1 − z) ⊙ candidate
        states.append(h)
    return torch.stack(states), h


def ligru_recurrence(
    u: Tensor,
    weight: Tensor,
    h0: Tensor | None = None,
    *,
    bidirectional: bool = False,
    activation: str = "relu",
    norm_eps: float | None = None,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    mask_h: Tensor | None = None,
    mask_pad: Tensor | None = None,
    reset: Tensor | None = None,
    h_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    states: States = ligru_states,
) -> tuple[Tensor, Tensor]:
    """Compute `sru_nn.functional.ligru_recurrence` step by step; equations, shapes and dtypes are there."""
    marks = mask_pad if reset is None else pieces.marks(mask_pad, reset, bidirectional)
    given = (u, weight, h0, h_reset, norm_weight, norm_bias, mask_h, marks, cu_seqlens)
    return by_marks(*given, bidirectional, activation, norm_eps, states)


def by_marks(
    u: Tensor,
    weight: Tensor,
    h0: Tensor | None,
    h_reset: Tensor | None,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    mask_h: Tensor | None,
    marks: Tensor | None,
    cu_seqlens: Tensor | None,
    bidirectional: bool,
    activation: str,
    norm_eps: float | None,
    states: States = ligru_states,
) -> tuple[Tensor, Tensor]:
    """Compute the recurrence from `marks` (as in `sru_nn.pieces`, or a bool padding mask), not masks."""
    dtype = accumulate_dtype(u.dtype)
    norm_weight, norm_bias = (part if part is None else part.to(dtype) for part in (norm_weight, norm_bias))
    product = Product(weight.to(dtype), norm_weight, norm_bias, norm_eps)
    with without_autocast(u.device):
        return by_product(
            product, u, h0, h_reset, mask_h, marks, cu_seqlens, bidirectional, activation, states
        )


def by_product(
    product: Callable[[Tensor], Tensor],
    u: Tensor,
    h0: Tensor | None,
    h_reset: Tensor | None,
    mask_h: Tensor | None,
    marks: Tensor | None,
    cu_seqlens: Tensor | None,
    bidirectional: bool,
    activation: str,
    states: States = ligru_states,
) -> tuple[Tensor, Tensor]:
    """Compute the recurrence with any map from the state `(R, D)` to the recurrent term `(R, 2·D)`."""
    rows = read_rows(u, h0, h_reset, mask_h, marks, cu_seqlens, bidirectional)
    h, last = states(rows, product, activation)
    h = from_rows(h, bidirectional)
    if cu_seqlens is None:
        last = last_from_rows(last, bidirectional)
    else:
        last = _last_states(h, h0, cu_seqlens, bidirectional)
    if marks is not None:
        h = h.masked_fill(pieces.padding(marks).unsqueeze(2), 0.0)
    return h.to(u.dtype), last


def _last_states(h: Tensor, h0: Tensor | None, cu_seqlens: Tensor, bidirectional: bool) -> Tensor:
    directions = 2 if bidirectional else 1
    initial = h.new_zeros(cu_seqlens.shape[0] - 1, h.shape[2]) if h0 is None else h0.to(h.dtype)
    parts = zip(h.chunk(directions, -1), initial.chunk(directions, -1), strict=True)
    return torch.cat(
        [pieces.last_states(*part, cu_seqlens, bool(second)) for second, part in enumerate(parts)], -1
    )
