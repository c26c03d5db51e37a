"""Batches of data held in memory, in an order that can be resumed in mid-epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from sru_data.batching import LengthBatchSampler

Item = TypeVar("Item")
Batch = TypeVar("Batch")


class BatchLoader(Generic[Item, Batch]):
    """What Lightning needs of a data loader, for data that need no worker processes.

    Lightning saves the state of a loader that has `state_dict`, and calls `set_epoch` of its `sampler`;
    torch's `DataLoader` keeps its batch sampler where Lightning does neither.

    Args:
        items: The data set.
        sampler: Yields the indices of each batch.
        collate: Makes a batch of items.
    """

    batch_sampler = None  # Lightning asks for it before it looks at `sampler`.

    def __init__(
        self, items: Sequence[Item], sampler: LengthBatchSampler, collate: Callable[[list[Item]], Batch]
    ) -> None:
        self.items = items
        self.sampler = sampler
        self.collate = collate

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rest of the sampler's epoch."""
        for indices in self.sampler:
            yield self.collate([self.items[index] for index in indices])

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return len(self.sampler)

    def state_dict(self) -> dict[str, Any]:
        """The place in the epoch."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a place in an epoch."""
        self.sampler.load_state_dict(state)
