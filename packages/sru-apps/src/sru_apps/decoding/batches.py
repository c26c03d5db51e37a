"""Batches of sequences, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def side_by_side(sequences: Iterable[Sequence[int]], most: int) -> Iterator[list[Sequence[int]]]:
    """Group sequences so that each group fits in memory.

    Args:
        sequences: The sequences.
        most: Maximum number of symbols per group, including padding; a longer sequence forms its own group.

    Yields:
        At least one sequence.
    """
    part: list[Sequence[int]] = []
    longest = 0
    for sequence in sequences:
        longest = max(longest, len(sequence))
        if part and longest * (len(part) + 1) > most:
            yield part
            part, longest = [], len(sequence)
        part.append(sequence)
    if part:
        yield part
