"""The expected results with resets and concatenated sequences: the module called once for each sequence.

This does not rely on how a module restarts. Each piece of a row is a call with a batch of one, without marks
or neighbours; the results are concatenated.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from .rows import Row, call


class Piece(NamedTuple):
    """Positions of one row that form a sequence."""

    begin: int
    end: int
    anew: bool
    """Whether its first direction restarts, instead of continuing from the state given to the row."""


def cut(padded: Sequence[bool], marked: Sequence[bool]) -> list[Piece]:
    """Cut a row at marked real positions that another real position precedes.

    A mark at padding is ignored. One at the first real position cuts nothing off, but restarts.
    """
    begins, anew, seen = [0], False, False
    for t, (pad, mark) in enumerate(zip(padded, marked, strict=True)):
        if mark and not pad:
            if seen:
                begins.append(t)
            else:
                anew = True
        seen = seen or not pad
    ends = pairwise([*begins, len(padded)])
    return [Piece(begin, end, anew or begin > 0) for begin, end in ends]


def by_pieces(
    row: Row, module: nn.Module, x: Tensor, state: Any, mask: Tensor | None, reset: Tensor
) -> tuple[Tensor, Any]:
    """Run `(T, B, E)` piece by piece."""
    outputs, states = [], []
    padded = torch.zeros_like(reset) if mask is None else mask
    for b in range(x.shape[1]):
        one = slice(b, b + 1)
        given = None if state is None else row.of_one(state, b)
        pieces = cut(padded[:, b].tolist(), reset[:, b].tolist())
        results = [
            call(
                module,
                x[piece.begin : piece.end, one],
                _before(row, module, given, first=not piece.anew, second=piece is pieces[-1]),
                None if mask is None else mask[piece.begin : piece.end, one],
            )
            for piece in pieces
        ]
        outputs.append(torch.cat([h for h, _ in results]))
        states.append(row.joined(module, results[-1][1], results[0][1]))
    return torch.cat(outputs, dim=1), _side_by_side(row, states)


def by_sequences(
    row: Row, module: nn.Module, x: Tensor, state: Any, offsets: Sequence[int]
) -> tuple[Tensor, Any]:
    """Run `(total, E)` sequence by sequence; there must be at least one."""
    outputs, states = [], []
    for number, (begin, end) in enumerate(pairwise(offsets)):
        given = None if state is None else row.of_one(state, number)
        h, last = call(module, x[begin:end, None], given)
        outputs.append(h.squeeze(1))
        states.append(last)
    return torch.cat(outputs), _side_by_side(row, states)


def _before(row: Row, module: nn.Module, given: Any, *, first: bool, second: bool) -> Any:
    """Return the state before a piece: each direction has the given state or restarts."""
    second = second if module.bidirectional else first
    if given is None or not (first or second):
        return None
    if first and second:
        return given
    anew = row.beginning(module, 1)
    return row.joined(module, given if first else anew, given if second else anew)


def _side_by_side(row: Row, states: Sequence[Any]) -> Any:
    return tree_map(lambda *parts: torch.cat(parts, dim=row.batch_axis), *states)
