"""Text as contiguous streams, for states that are carried from one segment to the next."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from sru_data.errors import DataError
from sru_data.streams.loader import Segment, TextLoader, gather

# AWD-LSTM's: one segment in twenty is about half as long, all vary, none is shorter than this.
_HALF_PROBABILITY = 0.05
_STANDARD_DEVIATION = 5
_SHORTEST = 5


class StreamLoader(TextLoader):
    """A text of n tokens cut into S = B · world_size streams, read side by side in segments of T steps.

    Stream s reads the steps of the text from s·m to (s + 1)·m - 1, where step i reads token i and predicts
    token i + 1, and

        m = ⌊(n - 1) / S⌋        the tokens after the last stream are left out
        m = ⌈(n - 1) / S⌉        with `whole`; the last streams are filled with `IGNORE`

    Stream b of a segment continues stream b of the segment before it, so the state of a network is carried
    from one to the next. Rank r reads the streams r·B to (r + 1)·B - 1. The last segment may be shorter.

    With `random_lengths` each segment has ⌊N(T', 5)⌋ steps, at least 5, where T' is T with probability 0.95
    and T / 2 otherwise. The lengths are drawn once, from `seed`, and come in another order in each epoch:
    so every epoch has the same number of segments, which schedules of the learning rate count on.

    Args:
        tokens: (n,) ids of any integer type; mapped ones stay mapped.
        batch_size: B, the streams of this rank.
        length: T.
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
        random_lengths: bool = False,
        whole: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(tokens, batch_size=batch_size, rank=rank, world_size=world_size)
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
        """m, the steps of a stream."""
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

    def _pieces(self, start: int) -> Iterator[tuple[int, int]]:
        """Yield the first step and the length of the epoch's segments from number `start` on."""
        if self._lengths is None:
            for step in range(start * self.length, self.steps, self.length):
                yield step, min(self.length, self.steps - step)
            return
        # The last one is what the others leave, so it stays the last.
        order = self._lengths[:-1]
        random.Random(f"order:{self.seed}:{self.epoch}").shuffle(order)
        order.append(self._lengths[-1])
        step = sum(order[:start])
        for length in order[start:]:
            yield step, length
            step += length

    def _segments(self, start: int) -> Iterator[Segment]:
        first = self.rank * self.batch_size * self.steps
        for step, length in self._pieces(start):
            yield gather(self.tokens, first=first + step, apart=self.steps, shape=(length, self.batch_size))

    def _sizes(self) -> dict[str, Any]:
        return {
            "tokens": len(self.tokens),
            "streams": self.batch_size * self.world_size,
            "length": self.length,
            "random_lengths": self.random_lengths,
            "whole": self.whole,
            "seed": self.seed,
        }
