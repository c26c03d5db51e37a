"""What is common to all loaders of a text: columns read side by side, and the place in an epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_data.errors import DataError

IGNORE = -100
"""The target where nothing is scored; the `ignore_index` of torch's losses."""


class Segment(NamedTuple):
    """A piece of every stream."""

    inputs: Tensor
    """(T, B) int64, the ids to read; 0 beyond the end of the text."""
    targets: Tensor
    """(T, B) int64, the id that follows each of them; `IGNORE` where it is not scored."""


class TextLoader(ABC):
    """The place in an epoch, kept as Lightning expects it of a data loader."""

    batch_sampler = None  # Lightning asks for it before it looks at `sampler`.

    def __init__(self, tokens: Tensor, *, batch_size: int, rank: int, world_size: int) -> None:
        name = type(self).__name__
        if tokens.dim() != 1 or tokens.is_floating_point() or tokens.is_complex():
            raise ValueError(
                f"{name}: tokens must be a 1-D tensor of integers, got {tokens.dtype} of shape "
                f"{tuple(tokens.shape)}; take `tokens` of a TokenFile"
            )
        self._check_positive(batch_size=batch_size, world_size=world_size)
        if not 0 <= rank < world_size:
            raise ValueError(f"{name}: rank must be 0 to world_size - 1 = {world_size - 1}, got {rank}")
        self.tokens = tokens
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._position = 0
        self._resume_at = 0

    def _check_positive(self, **options: int) -> None:
        for option, value in options.items():
            if value < 1:
                raise ValueError(f"{type(self).__name__}: {option} must be at least 1, got {value}")

    @property
    def sampler(self) -> TextLoader:
        """This object: Lightning calls `set_epoch` of a loader's sampler."""
        return self

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of segments in a whole epoch."""

    @abstractmethod
    def _segments(self, start: int) -> Iterator[Segment]:
        """Yield the epoch's segments from number `start` on."""

    @abstractmethod
    def _sizes(self) -> dict[str, Any]:
        """What must be the same for a position to mean the same place."""

    def __iter__(self) -> Iterator[Segment]:
        """Yield the segments of the epoch, or right after `load_state_dict`, the rest of them."""
        start, self._resume_at = self._resume_at, 0
        for position, segment in enumerate(self._segments(start), start=start + 1):
            self._position = position
            yield segment

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that comes next; naming the present epoch keeps a restored place.

        Args:
            epoch: The epoch, counted from 0.
        """
        if epoch != self.epoch:
            self.epoch = epoch
            self._position = self._resume_at = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the epoch, the same on all ranks: the segment after the last one yielded."""
        return {**self._sizes(), "epoch": self.epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the place that `state_dict` returned: the next iteration yields the rest of that epoch.

        Args:
            state: What `state_dict` returned, on any rank.

        Raises:
            DataError: The state belongs to another text, or to other sizes.
        """
        for key, own in self._sizes().items():
            if state.get(key) != own:
                raise DataError(
                    f"{type(self).__name__}: expected a place in a text with {key} = {own}, got one with "
                    f"{key} = {state.get(key)}; resume with the text and the sizes of the interrupted run"
                )
        self.epoch = state["epoch"]
        self._position = self._resume_at = state["position"]


def gather(tokens: Tensor, *, first: int, apart: int, shape: tuple[int, int]) -> Segment:
    """Read T steps of B columns; column b begins at token `first + b·apart`."""
    length, columns = shape
    available = len(tokens) - first - length - 1
    full = min(columns, available // apart + 1) if available >= 0 else 0
    rows = torch.zeros(length + 1, columns, dtype=torch.int64)
    if full:
        step = tokens.stride(0)
        block = tokens[first:].as_strided((length + 1, full), (step, apart * step))
        rows[:, :full] = block
    if full == columns:
        return Segment(rows[:-1], rows[1:].clone())
    targets = torch.full((length, columns), IGNORE)
    targets[:, :full] = rows[1:, :full]
    for column in range(full, columns):
        begin = first + column * apart
        rest = tokens[begin : begin + length + 1].to(torch.int64)
        rows[: len(rest), column] = rest
        targets[: max(0, len(rest) - 1), column] = rest[1:]
    return Segment(rows[:-1], targets)
