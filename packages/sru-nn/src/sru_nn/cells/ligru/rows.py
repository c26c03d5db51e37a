"""Both directions of a Li-GRU as rows of one batch; those of the second run from the last step to the first.

The directions share their weights, so one product computes a step of both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sru_nn import pieces
from sru_nn.dtypes import accumulate_dtype


class Rows(NamedTuple):
    """The inputs of the recurrence, in the accumulation dtype; R = N·B rows."""

    u: Tensor
    """`(T, R, 2·D)`, u_h then u_z; u_z is infinite at padding, where the state passes unchanged."""
    h: Tensor
    """`(R, D)`, the states before the first step."""
    mask_h: Tensor | None
    """`(R, D)`, or `(T, R, D)` for one mask per position."""
    starts: Tensor | None = None
    """`(T, R, 1)` bool, True where `h_reset` replaces the state before the step."""
    h_reset: Tensor | None = None
    """`(R, D)`, or `(T, R, D)` for one state per position."""


def read_rows(
    u: Tensor,
    h0: Tensor | None,
    h_reset: Tensor | None,
    mask_h: Tensor | None,
    marks: Tensor | None,
    cu_seqlens: Tensor | None,
    bidirectional: bool,
) -> Rows:
    """Convert the inputs of the recurrence to rows.

    Concatenated sequences are treated as one sequence whose state is replaced where the next one begins, so
    that no shape depends on their lengths.
    """
    length, batch, _, size = u.shape
    dtype, directions = accumulate_dtype(u.dtype), 2 if bidirectional else 1
    count = batch if cu_seqlens is None else cu_seqlens.shape[0] - 1
    u = both_ways(_without_padding(u.to(dtype), marks), bidirectional)
    h0 = u.new_zeros(count, directions * size) if h0 is None else h0.to(dtype)
    mask_h = None if mask_h is None else mask_h.to(dtype)
    if cu_seqlens is not None:
        numbers = pieces.sequence_numbers(cu_seqlens, length)

        def per_position(states: Tensor) -> Tensor:
            first, *second = states[numbers].unsqueeze(1).chunk(directions, -1)
            return torch.cat([first, *(part.flip(0) for part in second)], 1)

        starts = read_starts(pieces.sequence_marks(cu_seqlens, length), bidirectional)
        mask_h = None if mask_h is None else per_position(mask_h)
        return Rows(u, u.new_zeros(directions, size), mask_h, starts, per_position(h0))
    rows = Rows(u, _to_rows(h0, directions), None if mask_h is None else _to_rows(mask_h, directions))
    if marks is None or marks.dtype == torch.bool:
        return rows
    begins = u.new_zeros(directions * size) if h_reset is None else h_reset.to(dtype)
    begins = _to_rows(begins.expand(batch, -1), directions)
    return rows._replace(starts=read_starts(marks, bidirectional), h_reset=begins)


def _without_padding(u: Tensor, marks: Tensor | None) -> Tensor:
    if marks is None:
        return u.flatten(2)
    # Nothing at a padded position, not even NaN, may reach a result or a gradient.
    pad = pieces.padding(marks).unsqueeze(2)
    u_h, u_z = u.unbind(2)
    return torch.cat([u_h.masked_fill(pad, 0.0), u_z.masked_fill(pad, torch.inf)], 2)


def both_ways(tensor: Tensor, bidirectional: bool) -> Tensor:
    """Return `(T, B, ...)` as `(T, R, ...)`, with time reversed in the rows of the second direction."""
    return torch.cat([tensor, tensor.flip(0)], 1) if bidirectional else tensor


def read_starts(marks: Tensor, bidirectional: bool) -> Tensor:
    """Return where each row restarts, `(T, R, 1)` bool."""
    starts = [pieces.starts(marks, False)]
    if bidirectional:
        starts.append(pieces.starts(marks, True).flip(0))
    return torch.cat(starts, 1).unsqueeze(2)


def _to_rows(states: Tensor, directions: int) -> Tensor:
    """Return `(B, N·D)` as `(R, D)`."""
    return torch.cat(states.chunk(directions, -1))


def from_rows(h: Tensor, bidirectional: bool) -> Tensor:
    """Return `(T, R, D)` as `(T, B, N·D)`."""
    if not bidirectional:
        return h
    first, second = _halves(h, 1)
    return torch.cat([first, second.flip(0)], -1)


def to_rows(h: Tensor, bidirectional: bool) -> Tensor:
    """Return `(T, B, N·D)` as `(T, R, D)`, the inverse of `from_rows`."""
    if not bidirectional:
        return h
    first, second = h.chunk(2, -1)
    return torch.cat([first, second.flip(0)], 1)


def last_from_rows(h: Tensor, bidirectional: bool) -> Tensor:
    """Return `(R, D)` as `(B, N·D)`."""
    return torch.cat(_halves(h, 0), -1) if bidirectional else h


def _halves(tensor: Tensor, axis: int) -> tuple[Tensor, ...]:
    """Return the rows of the first and of the second direction."""
    # Not chunk(2, axis), which ONNX cannot optimise if the number of rows is unknown.
    return torch.unflatten(tensor, axis, (2, tensor.shape[axis] // 2)).unbind(axis)
