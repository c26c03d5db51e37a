"""The base classes of every task's data, and batches of data held in memory.

torch's `DataLoader` keeps its batch sampler where Lightning looks for neither the state nor `set_epoch`. With
`BatchLoader` a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from pytorch_lightning import LightningDataModule
from torch import Tensor

from sru_apps.decoding.unknown import UnknownParts
from sru_apps.train.export import dump_tokenizer, parse_tokenizer
from sru_data import DataError
from sru_data.loaders.buckets import LengthBatchSampler

Item = TypeVar("Item")
Batch = TypeVar("Batch")


class BatchLoader(Generic[Item, Batch]):
    """A data loader for data that need no worker processes, with the hooks that Lightning calls.

    Each of n processes reads every n-th batch. If the batches do not divide evenly, some of the last ones are
    read by two processes, so that all take the same number of steps.

    Args:
        items: The data set.
        sampler: Yields the indices of each batch.
        collate: Builds a batch from items.
        rank: The rank of this process, and the number of processes.
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
        self.items, self.sampler, self.collate = items, sampler, collate
        self.rank, self.world_size = rank

    def __iter__(self) -> Iterator[Batch]:
        """Yield the remaining batches of the sampler's epoch."""
        batches = iter(self.sampler)
        while group := list(islice(batches, self.world_size)):
            yield self.collate([self.items[index] for index in group[self.rank % len(group)]])

    def __len__(self) -> int:
        """Return the number of batches that this process reads in a whole epoch."""
        return -(-len(self.sampler) // self.world_size)

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the epoch."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a position in an epoch."""
        self.sampler.load_state_dict(state)


class TaskData(LightningDataModule):
    """The data of a task.

    `prepare_data` downloads and writes the files that all processes share, and `setup` reads them; before
    that there are no loaders, no tokenizer and no sizes. The trainer calls both before it builds the module.

    `state_dict` holds the tokenizer, so that a checkpoint can be used without the data. Before `setup`,
    `load_state_dict` adopts the tokenizer; after `setup`, it refuses a different one.
    """

    unit: str = ""
    """The name of a token; if set, the training speed is measured in tokens per second."""
    dataset: str
    """Name of the data."""
    group: str
    """The folder of similar runs, if there is no recipe to name it after."""
    tokenizer: Any = None
    """The tokenizer; known after `setup`."""
    has_test: bool = True
    """Whether there is a test set; known after `setup`."""
    evaluates: bool = False
    """Whether a trained model is only evaluated; set before the data is prepared."""

    @classmethod
    def changed(cls, options: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data options to evaluate a trained model with.

        Args:
            options: The options of its training.
            changes: The options that the command line of `validate` or `test` overrides.
        """
        return {**options, **changes}

    def take_tokenizer(self, tokenizer: str, config: Mapping[str, Any]) -> None:
        """Use the tokenizer of a trained model; called before the data is prepared.

        Args:
            tokenizer: The result of `dump_tokenizer`.
            config: The configuration of the model's network.
        """
        raise NotImplementedError

    def opening(self) -> str:
        """Describe what has been read in one line; may be empty."""
        return ""

    def report(self) -> str:
        """Describe the data, for `sru TASK prepare`."""
        return self.opening()

    def count(self, batch: Any) -> int:
        """The number of target tokens in a batch, if there is a `unit`."""
        return int(batch.targets.numel())

    def unknown(self, stage: str) -> UnknownParts | None:
        """Count the unknown words in a part of the data, if that is meaningful."""
        return None

    def warn_about(self, stage: str) -> None:
        """Warn about settings that make a figure meaningless, before `validate` or `test` measures it."""

    @property
    def rank(self) -> tuple[int, int]:
        """The rank of this process, and the number of processes."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)


class BatchData(TaskData, Generic[Item, Batch]):
    """Data held in memory, as batches of similar lengths in an order determined by seed and epoch.

    A derived class has the hyper-parameters `batch_size`, `evaluation_batch_size` and `seed`; one without
    `batch_size` overrides `train_dataloader`. Its `setup` sets `parts`, and `tokenizer` if that is None.
    """

    evaluation_factor = 1
    """The default multiple of the batch size in evaluation, which needs no gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, Sequence[Item]] = {}

    @abstractmethod
    def length(self, item: Item) -> int:
        """The length of an item."""

    def lengths(self, items: Sequence[Item]) -> Sequence[int] | Tensor:
        """The lengths of the items of one part."""
        return [self.length(item) for item in items]

    @abstractmethod
    def collate(self, items: Sequence[Any]) -> Any:
        """Build a batch from items."""

    def parse_tokenizer(self, content: str) -> Any:
        """Rebuild the tokenizer from a checkpoint."""
        return parse_tokenizer(content)

    def take_tokenizer(self, tokenizer: str, config: Mapping[str, Any]) -> None:
        """Use the tokenizer of a trained model."""
        self.tokenizer = self.parse_tokenizer(tokenizer)

    def train_dataloader(self) -> BatchLoader[Item, Batch]:
        """The training batches of this process."""
        return self._loader("train", self.rank)

    def val_dataloader(self) -> BatchLoader[Item, Batch]:
        """All validation data, so that the figures do not depend on the number of processes."""
        return self._loader("validation", (0, 1))

    def test_dataloader(self) -> BatchLoader[Item, Batch]:
        """All test data."""
        return self._loader("test", (0, 1))

    def _loader(self, part: str, rank: tuple[int, int]) -> BatchLoader[Item, Batch]:
        items, train = self.parts[part], part == "train"
        size = None if train else self.hparams["evaluation_batch_size"]
        if size is None:
            size = self.hparams["batch_size"] * (1 if train else self.evaluation_factor)
        sampler = LengthBatchSampler(
            self.lengths(items), batch_size=size, shuffle=train, seed=self.hparams["seed"]
        )
        return BatchLoader(items, sampler, self.collate, rank=rank)

    def state_dict(self) -> dict[str, Any]:
        """Return the tokenizer."""
        return {"tokenizer": dump_tokenizer(self.tokenizer)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a checkpoint's tokenizer.

        Raises:
            DataError: The data produced a different one, so the ids would mean other tokens.
        """
        if self.tokenizer is not None and dump_tokenizer(self.tokenizer) != state_dict["tokenizer"]:
            raise DataError(
                f"the tokens of {self.dataset} differ from those this checkpoint was trained with; "
                "continue with the same data and the same --data options"
            )
        self.tokenizer = self.parse_tokenizer(state_dict["tokenizer"])
