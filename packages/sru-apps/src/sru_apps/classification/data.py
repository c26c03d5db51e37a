"""Sentence-classification data for Lightning."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from sru_apps.training.loader import BatchLoader
from sru_data import DataError, classification
from sru_data.batching import LengthBatchSampler, pad_sequences
from sru_data.classification import Example, Splits
from sru_data.embeddings import EmbeddingMatrix, embedding_matrix, read_embeddings
from sru_data.tokenizers import Tokenizer, WordTokenizer, load_tokenizer

DatasetName = Literal["mr", "cr", "subj", "mpqa", "trec", "sst1", "sst2"]

# Without gradients four times the sentences fit, and the length of a batch changes no result.
_EVALUATION_FACTOR = 4


class Batch(NamedTuple):
    """A batch of labelled sentences, time-major."""

    ids: Tensor
    """(T, B) int64 word numbers."""
    mask: Tensor | None
    """(T, B) bool, True where there is padding; None without any, which takes less work."""
    labels: Tensor
    """(B,) int64."""


class SentenceData(LightningDataModule):
    """The splits of a data set as batches of word numbers.

    The vocabulary is the words of the training sentences; with pretrained vectors also those words of the
    other sentences that have one (no label is looked at), since a pretrained vector needs no training.

    Args:
        name: The data set.
        data_dir: Folder with the data; the environment variable SRU_DATA or a download by default.
        embeddings: Pretrained word vectors: GloVe text, fastText `.vec` or word2vec `.bin`, plain or `.gz`.
        embedding_size: Length of the word vectors; that of the pretrained ones by default, or 100.
        fold: The part of a ten-fold cross-validation to test on (mr, cr, subj, mpqa).
        batch_size: Sentences a batch.
        seed: Seed of splits, of the order of the batches, and of vectors for words without a pretrained one.

    Raises:
        ValueError: When a size is less than 1.
    """

    def __init__(
        self,
        name: DatasetName,
        data_dir: str | None = None,
        embeddings: str | None = None,
        embedding_size: int | None = None,
        fold: int = 0,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for option, size in (("embedding_size", embedding_size), ("batch_size", batch_size)):
            if size is not None and size < 1:
                raise ValueError(f"{option} must be at least 1, got {size}")
        self.save_hyperparameters(logger=False)
        self.dataset = name
        self.data_dir = data_dir
        self.embeddings = embeddings
        self.fold = fold
        self.batch_size = batch_size
        self.seed = seed
        self._embedding_size = embedding_size

    @cached_property
    def splits(self) -> Splits:
        """The sentences."""
        return classification.load(self.dataset, data_dir=self.data_dir, fold=self.fold, seed=self.seed)

    @property
    def label_names(self) -> list[str]:
        """The names of the classes."""
        return list(self.splits.label_names)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Text to word numbers."""
        train = [example.text for example in self.splits.train]
        if self.embeddings is None:
            return WordTokenizer.train(train)
        others = [example.text for example in [*self.splits.validation, *self.splits.test]]
        known = set(WordTokenizer.train(train).tokens)
        unseen = [token for token in WordTokenizer.train(others).tokens if token not in known]
        found = read_embeddings(self.embeddings, unseen)
        return WordTokenizer.train([*train, " ".join(token for token in unseen if token in found)])

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return len(self.tokenizer)

    @cached_property
    def pretrained(self) -> EmbeddingMatrix | None:
        """The vectors to start from, if a file was named."""
        if self.embeddings is None:
            return None
        return embedding_matrix(
            self.embeddings, self.tokenizer.tokens, dim=self._embedding_size, seed=self.seed
        )

    @property
    def embedding_size(self) -> int:
        """Length of the word vectors."""
        if self.pretrained is not None:
            return self.pretrained.weight.shape[1]
        return 100 if self._embedding_size is None else self._embedding_size

    def train_dataloader(self) -> BatchLoader[tuple[Tensor, int], Batch]:
        """Shuffled batches of similar lengths; the order is a function of the seed and the epoch."""
        return self._loader(self.splits.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> BatchLoader[tuple[Tensor, int], Batch]:
        """The validation sentences."""
        return self._loader(self.splits.validation, _EVALUATION_FACTOR * self.batch_size, shuffle=False)

    def test_dataloader(self) -> BatchLoader[tuple[Tensor, int], Batch]:
        """The test sentences."""
        return self._loader(self.splits.test, _EVALUATION_FACTOR * self.batch_size, shuffle=False)

    def _loader(
        self, examples: list[Example], batch_size: int, *, shuffle: bool
    ) -> BatchLoader[tuple[Tensor, int], Batch]:
        encoded = [torch.tensor(self.tokenizer.encode(example.text)) for example in examples]
        items = [(ids, example.label) for ids, example in zip(encoded, examples, strict=True)]
        lengths = [len(ids) for ids, _ in items]
        sampler = LengthBatchSampler(lengths, batch_size=batch_size, shuffle=shuffle, seed=self.seed)
        return BatchLoader(items, sampler, collate)

    def state_dict(self) -> dict[str, Any]:
        """The tokenizer, so that a checkpoint can be used without the data it was trained on."""
        return {"tokenizer": dump_tokenizer(self.tokenizer)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a checkpoint's tokenizer.

        Raises:
            DataError: When the data at hand gave another one: the word numbers would mean other words.
        """
        if "tokenizer" in self.__dict__ and dump_tokenizer(self.tokenizer) != state_dict["tokenizer"]:
            raise DataError(
                f"the words of data set {self.dataset!r} differ from those this checkpoint was trained with; "
                "continue with the same data, fold, seed and embeddings"
            )
        self.__dict__["tokenizer"] = parse_tokenizer(state_dict["tokenizer"])


def collate(items: Sequence[tuple[Sequence[int] | Tensor, int]]) -> Batch:
    """Pad sentences into a batch."""
    padded = pad_sequences([ids for ids, _ in items], batch_first=False)
    mask = padded.mask if padded.mask.any() else None
    return Batch(padded.ids, mask, torch.tensor([label for _, label in items]))


def dump_tokenizer(tokenizer: Tokenizer) -> str:
    """The content of the file that the tokenizer saves itself to."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer.json")
        tokenizer.save(path)
        return path.read_text(encoding="utf-8")


def parse_tokenizer(content: str) -> Tokenizer:
    """Undo `dump_tokenizer`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer.json")
        path.write_text(content, encoding="utf-8")
        return load_tokenizer(path)
