"""Which positions attend to which, from all that may forbid it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class AttentionMask(NamedTuple):
    """The arguments of `scaled_dot_product_attention` that say who attends to whom."""

    mask: Tensor | None = None
    """Broadcasts to `(B, H, T, S)`: True where one attends, or what is added to the scores."""
    is_causal: bool = False
    """Whether each position attends to those before it and itself, without a mask that says so."""
    unattended: Tensor | None = None
    """Broadcasts to `(B, H, T, 1)`: True where nothing may be attended to, though the mask allows everything
    there, because a softmax over nothing is NaN; None if no real position can be such a one."""


def attention_mask(
    like: Tensor,
    length: int,
    earlier: int,
    *,
    causal: bool,
    context: int | None,
    attn_mask: Tensor | None,
    pad: Tensor | None,
) -> AttentionMask:
    """Combine everything that forbids a position to attend to another one.

    Args:
        like: Any tensor of the dtype and on the device of the scores.
        length: T, the number of positions that attend.
        earlier: M, the number of positions before them; S = M + T.
        causal: Whether one attends to nothing that comes later.
        context: With `causal`, how far back one attends at most; None for no limit.
        attn_mask: `(T, S)`, bool, True where one must not attend, or a float that is added to the scores.
        pad: `(B, S)` bool, True where a position is padding, to which nobody attends.
    """
    if causal and attn_mask is None and pad is None and context is None and earlier == 0:
        return AttentionMask(is_causal=True)
    # One position that comes after everything it may see needs no mask for that.
    ordered = causal and not (length == 1 and (context is None or earlier <= context))
    if not ordered and attn_mask is None and pad is None:
        return AttentionMask()
    forbidden = torch.zeros((), dtype=torch.bool, device=like.device)
    if ordered:
        position = torch.arange(earlier + length, device=like.device)
        distance = position[earlier:, None] - position
        forbidden = distance < 0
        if context is not None:
            forbidden = forbidden | (distance > context)
    if pad is not None:
        forbidden = forbidden | pad[:, None, None, :]
    bias = None
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        forbidden = forbidden | attn_mask
    elif attn_mask is not None:
        bias = attn_mask.to(like.dtype)
        forbidden = forbidden | (bias == -torch.inf)
    if attn_mask is None and pad is None:  # everybody attends to itself
        return AttentionMask(~forbidden)
    nothing = forbidden.all(-1, keepdim=True)
    if bias is None:
        mask = ~forbidden | nothing
    else:
        mask = bias.masked_fill(forbidden, -torch.inf).masked_fill(nothing, 0.0)
    # Without a mask of the user's a real position attends at least to itself: only padding is unattended.
    return AttentionMask(mask, unattended=None if attn_mask is None else nothing)
