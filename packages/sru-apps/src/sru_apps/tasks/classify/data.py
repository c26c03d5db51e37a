"""Sentence-classification data for Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sru_apps.ranges import check_at_least
from sru_apps.train.data import BatchData
from sru_data.datasets import classification
from sru_data.embeddings import EmbeddingMatrix, embedding_matrix, read_embeddings
from sru_data.loaders.buckets import pad_sequences
from sru_data.tokenizers import Tokenizer, WordTokenizer

DatasetName = Literal["mr", "cr", "subj", "mpqa", "trec", "sst1", "sst2"]


class Batch(NamedTuple):
    """A batch of labelled sentences, time-major."""

    ids: Tensor
    """(T, B) int64 word numbers."""
    mask: Tensor | None
    """(T, B) bool, True at padding; None without any, which is faster."""
    labels: Tensor
    """(B,) int64."""


class SentenceData(BatchData[tuple[Tensor, int], Batch]):
    """The splits of a data set as batches of word numbers.

    The vocabulary is the words of the training sentences; with pretrained vectors also those words of the
    other sentences that have one (no label is looked at), since a pretrained vector needs no training.

    Args:
        name: The data set.
        data_dir: Folder with the data; default: $SRU_DATA, else the data are downloaded.
        embeddings: Pretrained word vectors: GloVe text, fastText `.vec` or word2vec `.bin`, plain or `.gz`.
        embedding_size: Length of the word vectors; default: that of the pretrained ones, else 100.
        fold: The part of a ten-fold cross-validation to test on (mr, cr, subj, mpqa).
        batch_size: Sentences per batch.
        seed: Seed of splits, of the order of the batches, and of vectors for words without a pretrained one.

    Attributes:
        splits: The sentences.
        label_names: The names of the classes.
        tokenizer: Text to word numbers.
        pretrained: The vectors to start from, if a file was named.

    Raises:
        ValueError: A size is less than 1.
    """

    pretrained: EmbeddingMatrix | None = None
    evaluation_factor = 4

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
        check_at_least(1, embedding_size=embedding_size, batch_size=batch_size)
        self.save_hyperparameters(logger=False)
        self.dataset = self.group = name
        self.embedding_size = 100 if embedding_size is None else embedding_size

    @property
    def folds(self) -> int:
        """The number of folds of a cross-validation; 0 where the set has a test set of its own."""
        return classification.count_folds(self.hparams["name"])

    def setup(self, stage: str) -> None:
        """Read, or download, the sentences and the word vectors, and number the words.

        Raises:
            DataError: A file is missing or wrongly formed.
        """
        if self.parts:
            return
        options = self.hparams
        self.splits = classification.load(
            options["name"], data_dir=options["data_dir"], fold=options["fold"], seed=options["seed"]
        )
        self.label_names = list(self.splits.label_names)
        if self.tokenizer is None:
            self.tokenizer = self._train_tokenizer()
        if options["embeddings"] is not None:
            self.pretrained = embedding_matrix(
                options["embeddings"],
                self.tokenizer.tokens,
                dim=options["embedding_size"],
                seed=options["seed"],
            )
            self.embedding_size = self.pretrained.weight.shape[1]
        for part in ("train", "validation", "test"):
            self.parts[part] = [
                (torch.tensor(self.tokenizer.encode(example.text)), example.label)
                for example in getattr(self.splits, part)
            ]

    def _train_tokenizer(self) -> Tokenizer:
        train = [example.text for example in self.splits.train]
        if self.hparams["embeddings"] is None:
            return WordTokenizer.train(train)
        others = [example.text for example in [*self.splits.validation, *self.splits.test]]
        known = set(WordTokenizer.train(train).tokens)
        unseen = [token for token in WordTokenizer.train(others).tokens if token not in known]
        found = read_embeddings(self.hparams["embeddings"], unseen)
        return WordTokenizer.train([*train, " ".join(token for token in unseen if token in found)])

    def opening(self) -> str:
        """Count the words with a pretrained vector."""
        if self.pretrained is None:
            return ""
        words, file = len(self.pretrained.weight) - 2, self.hparams["embeddings"]
        return f"{self.pretrained.found:,} of {words:,} words have a vector in {file}"

    def length(self, item: tuple[Tensor, int]) -> int:
        """The number of words."""
        return len(item[0])

    @staticmethod
    def collate(items: Sequence[tuple[Sequence[int] | Tensor, int]]) -> Batch:
        """Pad sentences into a batch."""
        padded = pad_sequences([ids for ids, _ in items], batch_first=False)
        mask = padded.mask if padded.mask.any() else None
        return Batch(padded.ids, mask, torch.tensor([label for _, label in items]))
