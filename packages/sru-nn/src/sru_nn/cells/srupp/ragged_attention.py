"""Attention within concatenated sequences of any length."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from sru_nn.cells.srupp.memory import KeyValues
from sru_nn.operators import is_plain

MASKED = 2048
"""The maximum number of positions for which a mask is used where reading the lengths synchronises."""


class Group(NamedTuple):
    """A batch of S' sequences that differ in length by less than a factor of 2; T' is the largest length."""

    inside: Tensor
    """`(T', S')`, the positions to read. Padding repeats the last one, so a NaN stays in its sequence."""
    pad: Tensor | None
    """`(T', S')` bool, True at the padding at the end of each sequence; None without padding."""
    places: Tensor
    """`(T'·S',)`, where to write the output of each position; padding has its own row after the last."""


_of_call: ContextVar[tuple[Tensor, list[list[Group]]] | None] = ContextVar("_of_call", default=None)


def reading_once(cu_seqlens: Tensor | None) -> contextlib.AbstractContextManager[None]:
    """Return a context in which these lengths are read once for all layers; a read synchronises a GPU."""
    if cu_seqlens is None or not is_plain(cu_seqlens):
        return contextlib.nullcontext()
    return _reading_once(cu_seqlens)


@contextlib.contextmanager
def _reading_once(cu_seqlens: Tensor) -> Iterator[None]:
    token = _of_call.set((cu_seqlens, []))
    try:
        yield
    finally:
        _of_call.reset(token)


def is_read_once(cu_seqlens: Tensor) -> bool:
    """Return whether a stack is running its layers with these lengths, which it has checked."""
    return is_plain(cu_seqlens) and (_of_call.get() or (None,))[0] is cu_seqlens


def can_read(cu_seqlens: Tensor, total: int) -> bool:
    """Return whether to read the lengths of sequences: not in a graph, nor if that takes too long."""
    return is_plain(cu_seqlens) and (cu_seqlens.is_cpu or total > MASKED)


def attend_by_length(
    attend: Callable[[Tensor, KeyValues, Tensor | None], Tensor],
    q: Tensor,
    seen: KeyValues,
    cu_seqlens: Tensor,
) -> Tensor:
    """Attend within each sequence, in batches of sequences of similar lengths.

    A long sequence therefore adds no padding to a short one, and at most three quarters of the scores are
    padding.

    Args:
        attend: Maps queries `(S', H, T', P/H)`, keys and values of the same shape, and the padding `(T', S')`
            bool, at the end of each sequence, or None, to the outputs `(S', H, T', P/H)`.
        q: `(1, H, total, P/H)`.
        seen: `(1, H, total, P/H)` each.
        cu_seqlens: `(S + 1,)`, where the sequences begin and end.

    Returns:
        `(1, H, total, P/H)`.
    """
    rows = torch.cat([q, *seen], -1)[0].transpose(0, 1)
    total = rows.shape[0]
    groups, found = _groups(cu_seqlens, total), []
    for group in groups:
        batch = torch.unflatten(rows.index_select(0, group.inside.flatten()), 0, group.inside.shape)
        queries, keys, values = batch.permute(1, 2, 0, 3).chunk(3, -1)
        part = attend(queries, KeyValues(keys, values), group.pad)
        found.append(part.permute(2, 0, 1, 3).flatten(0, 1))
    if not found:
        return torch.zeros_like(q)
    result, places = torch.cat(found), torch.cat([group.places for group in groups])
    result = result.new_zeros(total + 1, *result.shape[1:]).index_copy(0, places, result)
    return result[:total].transpose(0, 1).unsqueeze(0)


def _groups(cu_seqlens: Tensor, total: int) -> list[Group]:
    """Group the non-empty sequences by length."""
    given, made = _of_call.get() or (None, [])
    if cu_seqlens is not given:
        return _read(cu_seqlens, total)
    if not made:
        made.append(_read(cu_seqlens, total))
    return made[0]


def _read(cu_seqlens: Tensor, total: int) -> list[Group]:
    device, groups = cu_seqlens.device, []
    offsets = cu_seqlens.cpu().clamp(0, total)
    lengths = offsets.diff().clamp(min=0)
    digits = torch.frexp(lengths.double()).exponent
    for count in sorted({*digits[lengths > 0].tolist()}):
        chosen = digits == count
        sizes = lengths[chosen].tolist()
        first, last = offsets[:-1][chosen].to(device), offsets[1:][chosen].to(device) - 1
        index = first + torch.arange(max(sizes), device=device).unsqueeze(1)
        pad = index > last
        places = index.masked_fill(pad, total).flatten()
        groups.append(Group(torch.minimum(index, last), pad if min(sizes) < max(sizes) else None, places))
    return groups
