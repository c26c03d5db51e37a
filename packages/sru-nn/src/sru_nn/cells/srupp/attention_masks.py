"""Which positions may attend to which."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sru_nn.pieces import piece_ids, sequence_numbers


class AttentionMask(NamedTuple):
    """The arguments of `scaled_dot_product_attention` that determine which positions attend to which."""

    mask: Tensor | None = None
    """Broadcasts to `(B, H, T, S)`: True where a position attends, or a bias that is added to the scores."""
    is_causal: bool = False
    """Whether each position attends to itself and those before it, without a mask."""
    unattended: Tensor | None = None
    """Broadcasts to `(B, H, T, 1)`: True where a position may attend to nothing. The mask allows everything
    there, because a softmax over nothing is NaN. None if that can only happen at padding."""


def attention_mask(
    q: Tensor,
    earlier: int,
    causal: bool,
    context: int | None,
    attn_mask: Tensor | None,
    pad: Tensor | None,
    pieces: Tensor | None,
) -> AttentionMask:
    """Combine everything that prevents a position from attending to another.

    Args:
        q: `(B, H, T, ·)`, the queries.
        earlier: M, the number of positions before them; S = M + T.
        causal: Whether positions attend only to themselves and earlier ones.
        context: With `causal`, how far back a position attends at most; None for no limit.
        attn_mask: `(T, S)`, bool, True where a position must not attend, or numbers added to the scores.
        pad: `(S, B)` bool, True where a position is padding, to which no position attends.
        pieces: `(S, B)`, the index of the sequence that a position belongs to and attends within.
    """
    length = q.shape[2]
    # A single position that comes last needs no causal mask.
    ordered = causal and not (length == 1 and (context is None or earlier <= context))
    if attn_mask is None and pad is None and pieces is None:
        if not ordered:
            return AttentionMask()
        if context is None and earlier == 0:
            return AttentionMask(is_causal=True)
    forbidden, bias = torch.zeros((), dtype=torch.bool, device=q.device), None
    if ordered:
        position = torch.arange(earlier + length, device=q.device)
        distance = position[earlier:, None] - position
        forbidden = (distance < 0) if context is None else (distance < 0) | (distance > context)
    if pad is not None:
        forbidden = forbidden | pad.t()[:, None, None, :]
    if pieces is not None:
        rows = pieces.t()[:, None, :]
        forbidden = forbidden | (rows[..., earlier:, None] != rows[..., None, :])
    if attn_mask is not None:
        bias = None if attn_mask.dtype == torch.bool else attn_mask.to(q.dtype)
        forbidden = forbidden | (attn_mask if bias is None else bias == -torch.inf)
    nothing = forbidden.all(-1, keepdim=True)
    if bias is None:
        mask = ~forbidden | nothing
    else:
        mask = bias.masked_fill(forbidden, -torch.inf).masked_fill(nothing, 0.0)
    # Without an attn_mask every real position attends at least to itself.
    return AttentionMask(mask, unattended=None if attn_mask is None else nothing)


def joined_masks(earlier: Tensor | None, positions: int, mask: Tensor | None, like: Tensor) -> Tensor:
    """Return `(S, B)` bool, True where a position, earlier or new, is padding.

    Args:
        earlier: `(M, B)`, the padding among the earlier positions; None if there is none.
        positions: M.
        mask: `(T, B)`, the padding among the new positions; None if there is none.
        like: `(T, B, ...)`, the new positions.
    """
    length, batch = like.shape[:2]
    new = like.new_zeros(length, batch) if mask is None else mask
    earlier = like.new_zeros(positions, batch) if earlier is None else earlier
    return torch.cat([earlier.bool(), new.bool()])


def pieces_of_all(
    earlier: int, like: Tensor, mask_pad: Tensor | None, reset: Tensor | None, cu_seqlens: Tensor | None
) -> Tensor | None:
    """Return the index of the sequence that each position belongs to, `(S, B)`; None if there is only one.

    Args:
        earlier: M, the number of earlier positions, which belong to the first sequence, number 0.
        like: `(T, B, ...)`, the new positions.
        mask_pad: `(T, B)`, the padding among the new positions, where a reset is ignored.
        reset: `(T, B)` bool, True where a sequence begins.
        cu_seqlens: `(N + 1,)`, where concatenated sequences begin and end.
    """
    if cu_seqlens is not None:
        return sequence_numbers(cu_seqlens, like.shape[0]).unsqueeze(1)
    if reset is None:
        return None
    new = piece_ids(reset, None if mask_pad is None else mask_pad.bool())
    return torch.cat([new.new_zeros(earlier, like.shape[1]), new]) if earlier else new


def ended(mask_pad: Tensor | None, reset: Tensor) -> Tensor:
    """Return `(T, B)` bool, True at padding and at positions of sequences that have ended."""
    pieces = piece_ids(reset, mask_pad)
    past = pieces != pieces[-1:]
    return past if mask_pad is None else past | mask_pad
