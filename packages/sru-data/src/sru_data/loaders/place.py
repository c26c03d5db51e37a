"""A position in an epoch that can be saved and restored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from sru_data.errors import DataError

Item = TypeVar("Item")


class Resumable(ABC, Generic[Item]):
    """A resumable iterable over epochs, as Lightning expects of a data loader and its sampler.

    Iterating yields the epoch that `set_epoch` chose; it does not advance by itself.
    """

    epoch = 0
    _position = 0
    _resume_at = 0

    @abstractmethod
    def _items(self, start: int) -> Iterator[Item]:
        """Yield the items of the epoch, starting with number `start`."""

    @abstractmethod
    def _sizes(self) -> dict[str, Any]:
        """Return the values that must match for a saved position to be valid."""

    def _check_positive(self, **options: int | None) -> None:
        for option, value in options.items():
            if value is not None and value < 1:
                raise ValueError(f"{type(self).__name__}: {option} must be at least 1, got {value}")

    def __iter__(self) -> Iterator[Item]:
        """Yield the items of the epoch, or right after `load_state_dict`, the remaining ones."""
        start, self._resume_at = self._resume_at, 0
        for position, item in enumerate(self._items(start), start=start + 1):
            self._position = position
            yield item

    def set_epoch(self, epoch: int) -> None:
        """Set the next epoch; setting the current epoch again keeps a restored position.

        Args:
            epoch: The epoch, counted from 0.
        """
        if epoch != self.epoch:
            self.epoch = epoch
            self._position = self._resume_at = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the epoch as plain values: the item after the last one yielded.

        It is the same on all ranks. A `DataLoader` with worker processes draws batches ahead of the training
        loop; in that case, replace "position" with the number of batches trained on.
        """
        return {**self._sizes(), "epoch": self.epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the position that `state_dict` returned: the next iteration yields the rest of that epoch.

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
