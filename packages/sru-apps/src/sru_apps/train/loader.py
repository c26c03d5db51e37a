"""Batches of data held in memory, in an order that can be resumed in mid-epoch.

torch's `DataLoader` keeps its batch sampler where Lightning looks for neither the state nor `set_epoch`, and a
resumed run is to equal an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from sru_data.loaders.buckets import LengthBatchSampler

Item = TypeVar("Item")
Batch = TypeVar("Batch")


class BatchLoader(Generic[Item, Batch]):
    """A data loader for data that need no worker processes, with the hooks that Lightning calls.

    Each of several processes reads every n-th batch. Where the batches do not divide evenly, some of the last
    ones are read by two processes, so that all take the same number of steps.

    Args:
        items: The data set.
        sampler: Yields the indices of each batch.
        collate: Makes a batch of items.
        rank: The number of this process, and how many there are.
    """

    batch_sampler = None  # Lightning asks for it before it looks at `sampler`.

    def __init__(
        self,
        items: Sequence[Item],
        sampler: LengthBatchSampler,
        collate: Callable[[list[Item]], Batch],
        *,
        rank: tuple[int, int] = (0, 1),
    ) -> None:
        self.items = items
        self.sampler = sampler
        self.collate = collate
        self.rank, self.world_size = rank

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rest of the sampler's epoch."""
        batches = iter(self.sampler)
        while group := list(islice(batches, self.world_size)):
            yield self.collate([self.items[index] for index in group[self.rank % len(group)]])

    def __len__(self) -> int:
        """Batches that this process reads in a whole epoch."""
        return -(-len(self.sampler) // self.world_size)

    def state_dict(self) -> dict[str, Any]:
        """The place in the epoch."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a place in an epoch."""
        self.sampler.load_state_dict(state)
