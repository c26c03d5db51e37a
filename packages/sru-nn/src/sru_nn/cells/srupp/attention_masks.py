"""Which positions may attend to which."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class AttentionMask(NamedTuple):
    """The arguments of `scaled_dot_product_attention` that say which positions attend to which."""

    mask: Tensor | None = None
    """Broadcasts to `(B, H, T, S)`: True where a position attends, or a bias that is added to the scores."""
    is_causal: bool = False
    """Whether each position attends to itself and those before it, without a mask."""
    unattended: Tensor | None = None
    """Broadcasts to `(B, H, T, 1)`: True where a position may attend to nothing. The mask allows everything
    there, because a softmax over nothing is NaN. None if that can only happen at padding."""


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
    """Combine everything that keeps a position from attending to another one.

    Args:
        like: Any tensor of the dtype and on the device of the scores.
        length: T, the number of positions that attend.
        earlier: M, the number of positions before them; S = M + T.
        causal: Whether positions attend to nothing that comes later.
        context: With `causal`, how far back a position attends at most; None for no limit.
        attn_mask: `(T, S)`, bool, True where a position must not attend, or a float added to the scores.
        pad: `(B, S)` bool, True where a position is padding, to which no position attends.
    """
    if causal and attn_mask is None and pad is None and context is None and earlier == 0:
        return AttentionMask(is_causal=True)
    # A single position after all it may see needs no causal mask.
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
    if attn_mask is None and pad is None:  # every position attends to itself
        return AttentionMask(~forbidden)
    nothing = forbidden.all(-1, keepdim=True)
    if bias is None:
        mask = ~forbidden | nothing
    else:
        mask = bias.masked_fill(forbidden, -torch.inf).masked_fill(nothing, 0.0)
    # Without an attn_mask every real position attends at least to itself.
    return AttentionMask(mask, unattended=None if attn_mask is None else nothing)
