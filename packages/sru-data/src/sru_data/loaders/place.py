"""The place in an epoch, which can be saved and restored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from sru_data.errors import DataError

Item = TypeVar("Item")


class Resumable(ABC, Generic[Item]):
    """An iterable of epochs that knows its place, as Lightning expects of a data loader and its sampler.

    Iterating yields the epoch that `set_epoch` chose; it does not advance by itself.
    """

    epoch = 0
    _position = 0
    _resume_at = 0

    @abstractmethod
    def _items(self, start: int) -> Iterator[Item]:
        """Yield the items of the epoch from number `start` on."""

    @abstractmethod
    def _sizes(self) -> dict[str, Any]:
        """Return the values that must be equal for a position to mean the same place."""

    def _check_positive(self, **options: int | None) -> None:
        for option, value in options.items():
            if value is not None and value < 1:
                raise ValueError(f"{type(self).__name__}: {option} must be at least 1, got {value}")

    def __iter__(self) -> Iterator[Item]:
        """Yield the items of the epoch, or right after `load_state_dict`, the rest of them."""
        start, self._resume_at = self._resume_at, 0
        for position, item in enumerate(self._items(start), start=start + 1):
            self._position = position
            yield item

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that comes next; naming the present epoch keeps a restored place.

        Args:
            epoch: The epoch, counted from 0.
        """
        if epoch != self.epoch:
            self.epoch = epoch
            self._position = self._resume_at = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the epoch as plain values: the item after the last one yielded.

        It is the same on all ranks. A `DataLoader` with worker processes draws batches ahead of the training
        loop; there, replace "position" by the number of batches trained on.
        """
        return {**self._sizes(), "epoch": self.epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the place that `state_dict` returned: the next iteration yields the rest of that epoch.

        Args:
            state: The return value of `state_dict`, on any rank.

        Raises:
            DataError: The state belongs to other data, another seed or other sizes.
        """
        for key, own in self._sizes().items():
            if state.get(key) != own:
                raise DataError(
                    f"{type(self).__name__}: expected a state with {key} = {own}, got one with {key} = "
                    f"{state.get(key)}; resume with the data, the sizes and the seed of the interrupted run"
                )
        self.epoch = state["epoch"]
        self._position = self._resume_at = state["position"]
