"""Attention within sequences of any lengths that lie end to end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sru_nn.cells.srupp.memory import KeyValues
from sru_nn.operators import is_plain

MASKED = 2048
"""Up to how many positions a mask is made on a device that would have to wait for the lengths."""


def can_read(cu_seqlens: Tensor, total: int) -> bool:
    """Return whether to read the lengths of sequences: not in a graph, nor where that takes too long."""
    return is_plain(cu_seqlens) and (cu_seqlens.is_cpu or total > MASKED)


def attend_by_length(
    attend: Callable[[Tensor, KeyValues, Tensor | None], Tensor],
    q: Tensor,
    seen: KeyValues,
    cu_seqlens: Tensor,
) -> Tensor:
    """Attend within each sequence, in batches of sequences that differ in length by less than a factor of 2.

    So a long sequence makes no short one longer, and the scores of the padding are at most three quarters.

    Args:
        attend: Maps queries `(S', H, T', P/H)`, as many keys and values, and the padding `(T', S')` bool, at
            the end of each sequence, or None, to what the queries find, `(S', H, T', P/H)`.
        q: `(1, H, total, P/H)`.
        seen: `(1, H, total, P/H)` each.
        cu_seqlens: `(S + 1,)`, where the sequences begin and end.

    Returns:
        `(1, H, total, P/H)`.
    """
    rows = torch.cat([q, *seen], -1)[0].transpose(0, 1)
    total = rows.shape[0]
    offsets = cu_seqlens.cpu().clamp(0, total)
    lengths = offsets.diff().clamp(min=0)
    digits = torch.frexp(lengths.double()).exponent
    places, found = [], []
    for count in sorted({*digits[lengths > 0].tolist()}):
        chosen = digits == count
        sizes = lengths[chosen].tolist()
        first, last = offsets[:-1][chosen].to(q.device), offsets[1:][chosen].to(q.device) - 1
        index = first + torch.arange(max(sizes), device=q.device).unsqueeze(1)
        # The padding repeats the last position, so that a NaN stays in its sequence.
        inside = torch.minimum(index, last)
        batch = torch.unflatten(rows.index_select(0, inside.flatten()), 0, inside.shape)
        queries, keys, values = batch.permute(1, 2, 0, 3).chunk(3, -1)
        part = attend(queries, KeyValues(keys, values), None if min(sizes) == max(sizes) else index > last)
        # What the padding finds goes into a row of its own.
        places.append(index.masked_fill(index > last, total).flatten())
        found.append(part.permute(2, 0, 1, 3).flatten(0, 1))
    if not found:
        return torch.zeros_like(q)
    result = torch.cat(found)
    result = result.new_zeros(total + 1, *result.shape[1:]).index_copy(0, torch.cat(places), result)
    return result[:total].transpose(0, 1).unsqueeze(0)
