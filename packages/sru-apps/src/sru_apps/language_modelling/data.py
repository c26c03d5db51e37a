"""Text as contiguous streams, for training with the state carried from one segment to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sru_apps.training.errors import UserError


class Segment(NamedTuple):
    """A piece of every stream."""

    inputs: Tensor
    """(T, B) int64, the symbols to read."""
    targets: Tensor
    """(T, B) int64, the symbol that follows each of them."""


class TextStreams:
    """One text cut into B streams of equal length, read side by side in segments of T symbols.

    Stream b of a segment continues stream b of the segment before it. What does not fill a whole row of
    streams at the end of the text is left out; the last segment may be shorter than T.

    Args:
        ids: (symbols,) int64, the text.
        batch_size: B.
        length: T.

    Raises:
        UserError: When the text is too short for one symbol and its successor in each stream.
    """

    def __init__(self, ids: Tensor, *, batch_size: int, length: int) -> None:
        steps = (len(ids) - 1) // batch_size
        if steps < 1:
            raise UserError(
                f"a text of {len(ids)} symbols is too short for {batch_size} streams, which take at least "
                f"{batch_size + 1}; give a longer text or a smaller batch size"
            )
        self.inputs = ids[: steps * batch_size].view(batch_size, steps).t().contiguous()
        self.targets = ids[1 : steps * batch_size + 1].view(batch_size, steps).t().contiguous()
        self.length = length

    def __len__(self) -> int:
        """Segments in the text."""
        return -(-len(self.inputs) // self.length)

    def __iter__(self) -> Iterator[Segment]:
        """Yield the segments in the order of the text."""
        yield from map(Segment, torch.split(self.inputs, self.length), torch.split(self.targets, self.length))
