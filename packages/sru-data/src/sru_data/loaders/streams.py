"""Text as contiguous streams, for states that are carried from one segment to the next."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_data.errors import DataError
from sru_data.loaders.place import Resumable

IGNORE = -100
"""The target of steps that are not scored; the `ignore_index` of torch's losses."""

# As in AWD-LSTM: one segment in twenty is about half as long, and none is shorter than `_SHORTEST`.
_HALF_PROBABILITY = 0.05
_STANDARD_DEVIATION = 5
_SHORTEST = 5


class Segment(NamedTuple):
    """A piece of every stream."""

    inputs: Tensor
    """(T, B) int64, the ids to read; 0 beyond the end of the text."""
    targets: Tensor
    """(T, B) int64, the id that follows each input; `IGNORE` where it is not scored."""
    reset: Tensor | None = None
    """(T, B) bool, True where the input is the first of a document; None if the text is one document."""


class TextLoader(Resumable[Segment]):
    """A loader of B columns of a text for one of several ranks."""

    batch_sampler = None  # Lightning asks for it before it looks at `sampler`.

    def __init__(
        self, tokens: Tensor, *, batch_size: int, separator: int | None, rank: int, world_size: int
    ) -> None:
        name = type(self).__name__
        if tokens.dim() != 1 or tokens.is_floating_point() or tokens.is_complex():
            raise ValueError(
                f"{name}: tokens must be a 1-D tensor of integers, got {tokens.dtype} of shape "
                f"{tuple(tokens.shape)}; pass `tokens` of a TokenFile"
            )
        self._check_positive(batch_size=batch_size, world_size=world_size)
        if not 0 <= rank < world_size:
            raise ValueError(f"{name}: rank must be 0 to world_size - 1 = {world_size - 1}, got {rank}")
        self.tokens = tokens
        self.batch_size = batch_size
        self.separator = separator
        self.rank = rank
        self.world_size = world_size

    @property
    def sampler(self) -> TextLoader:
        """This object: Lightning calls `set_epoch` of a loader's sampler."""
        return self

    def _gather(self, *, first: int, apart: int, length: int) -> Segment:
        """Read T steps of B columns; column b begins at token `first + b·apart`."""
        segment = gather(self.tokens, first=first, apart=apart, shape=(length, self.batch_size))
        if self.separator is None:
            return segment
        places = first - 1 + apart * torch.arange(self.batch_size)
        before = self.tokens[places.clamp(0, len(self.tokens) - 1)].to(torch.int64)
        before = before.masked_fill(places < 0, self.separator)  # the text begins with a document
        return segment._replace(reset=torch.cat([before[None], segment.inputs[:-1]]) == self.separator)


class StreamLoader(TextLoader):
    """A text of n tokens cut into S = B · world_size streams, read side by side in segments of T steps.

    Stream s consists of steps s·m to (s + 1)·m - 1 of the text, where step i reads token i and predicts token
    i + 1, and

        m = ⌊(n - 1) / S⌋        the tokens after the last stream are left out
        m = ⌈(n - 1) / S⌉        with `whole`; the last streams are padded with `IGNORE`

    Stream b of a segment continues stream b of the segment before it, so the state of a network carries over
    from one to the next. Rank r reads streams r·B to (r + 1)·B - 1. The last segment may be shorter.

    With `random_lengths` each segment has ⌊N(T', 5)⌋ steps, at least 5, where T' is T with probability 0.95
    and T / 2 otherwise. The lengths are drawn once, from `seed`, and shuffled in each epoch, so every epoch
    has the same number of segments, which learning-rate schedules rely on.

    With a `separator`, a document begins at the first token of the text and after each separator, which is
    the last token of a document. `reset` of a segment marks the first token of each, so that a network can
    reset its state there. A stream may begin within a document; its first token is then not marked.

    Args:
        tokens: (n,) ids of any integer type; memory-mapped ids stay memory-mapped.
        batch_size: B, the number of streams of this rank.
        length: T.
        separator: The id of the token that ends a document; None if the text is one document.
        random_lengths: Whether the lengths are random, as in AWD-LSTM.
        whole: Whether every token but the first is scored exactly once.
        seed: Seed of the random lengths.
        rank: The number of this process.
        world_size: The number of processes.

    Raises:
        ValueError: `tokens` is not 1-D or not of integers, or an option is out of range.
        DataError: The text is too short.

    Source:
        Random lengths: Merity, Keskar and Socher 2018, Regularizing and Optimizing LSTM Language Models,
        section 5.
    """

    def __init__(
        self,
        tokens: Tensor,
        *,
        batch_size: int,
        length: int,
        separator: int | None = None,
        random_lengths: bool = False,
        whole: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(tokens, batch_size=batch_size, separator=separator, rank=rank, world_size=world_size)
        self._check_positive(length=length)
        self.length = length
        self.random_lengths = random_lengths
        self.whole = whole
        self.seed = seed
        streams = batch_size * world_size
        needed = 2 if whole else streams + 1
        if len(tokens) < needed:
            raise DataError(
                f"StreamLoader: expected a text of at least {needed:,} tokens for {streams:,} streams, got "
                f"{len(tokens):,}; give a longer text or a smaller batch size"
            )
        self.steps = -(-(len(tokens) - 1) // streams) if whole else (len(tokens) - 1) // streams
        """m, the number of steps of a stream."""
        self._lengths = self._draw_lengths() if random_lengths else None

    def _draw_lengths(self) -> list[int]:
        draw = random.Random(f"lengths:{self.seed}")
        lengths = []
        left = self.steps
        while left:
            base = self.length / 2 if draw.random() < _HALF_PROBABILITY else self.length
            lengths.append(min(left, max(_SHORTEST, int(draw.gauss(base, _STANDARD_DEVIATION)))))
            left -= lengths[-1]
        return lengths

    def __len__(self) -> int:
        """Return the number of segments, the same in every epoch."""
        return -(-self.steps // self.length) if self._lengths is None else len(self._lengths)

    def _items(self, start: int) -> Iterator[Segment]:
        begins: Sequence[int] = range(0, self.steps, self.length)
        if self._lengths is not None:
            # The last segment is the remainder, so it stays last.
            order = self._lengths[:-1]
            random.Random(f"order:{self.seed}:{self.epoch}").shuffle(order)
            begins = list(accumulate(order, initial=0))
        first = self.rank * self.batch_size * self.steps
        for step, end in pairwise(chain(begins[start:], [self.steps])):
            yield self._gather(first=first + step, apart=self.steps, length=end - step)

    def _sizes(self) -> dict[str, Any]:
        return {
            "tokens": len(self.tokens),
            "streams": self.batch_size * self.world_size,
            "length": self.length,
            "random_lengths": self.random_lengths,
            "whole": self.whole,
            "seed": self.seed,
        }


def gather(tokens: Tensor, *, first: int, apart: int, shape: tuple[int, int]) -> Segment:
    """Read T steps of B columns; column b begins at token `first + b·apart`.

    Args:
        tokens: (n,) ids.
        first: Where the first column begins.
        apart: The distance between the beginnings of columns.
        shape: T and B.
    """
    length, columns = shape
    if first + (columns - 1) * apart + length < len(tokens):
        # No column reaches the end of the text, so a view works, several times as fast as indexing.
        step = tokens.stride(0)
        view = tokens[first:].as_strided((length + 1, columns), (step, apart * step))
        rows = torch.empty(view.shape, dtype=torch.int64).copy_(view)
        return Segment(rows[:-1], rows[1:].clone())
    places = first + torch.arange(length + 1)[:, None] + apart * torch.arange(columns)
    beyond = places >= len(tokens)
    rows = tokens[places.clamp(max=len(tokens) - 1)].to(torch.int64)
    return Segment(rows[:-1].masked_fill(beyond[:-1], 0), rows[1:].masked_fill(beyond[1:], IGNORE))
