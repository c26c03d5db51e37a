"""Sentence-classification data for Lightning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from sru_apps.decoding.unknown import UnknownParts
from sru_apps.ranges import check_at_least
from sru_apps.tasks.classify.examples import EncodedExamples, Item, pad
from sru_apps.tasks.classify.source import DatasetName, check_source, read_splits
from sru_apps.tasks.classify.vocabulary import SPECIAL, check_options, make_tokenizer
from sru_apps.train.data import BatchData
from sru_apps.train.own_files import Files, name_of_files
from sru_data import DataError
from sru_data.datasets import classification
from sru_data.embeddings import EmbeddingMatrix, embedding_matrix
from sru_data.tables import Kind
from sru_data.texts import Unit
from sru_data.tokenizers import ByteTokenizer
from sru_data.tokenizers.words import Rules

_PARTS = ("train", "validation", "test")


class Batch(NamedTuple):
    """A batch of labelled sentences, time-major."""

    ids: Tensor
    """(T, B) int64 word ids."""
    mask: Tensor | None
    """(T, B) bool, True at padding; None without padding, which is faster."""
    labels: Tensor
    """(B,) int64, or (B, C) bool if a sentence may have any number of labels."""
    pair_ids: Tensor | None = None
    """(T', B) int64, the second sentences of pairs."""
    pair_mask: Tensor | None = None
    """Their padding, like `mask`."""

    @property
    def inputs(self) -> tuple[Tensor | None, ...]:
        """The arguments of the network."""
        return (self.ids, self.mask, self.pair_ids, self.pair_mask)


class SentenceData(BatchData[Item, Batch]):
    """The splits of a published set, or of your own files, as batches of word ids.

    The vocabulary is the words of the training sentences. With pretrained vectors, it also contains the most
    frequent other words of their file, whose vectors stay fixed.

    Args:
        name: A published set: mr, cr, subj, mpqa, trec, sst1 or sst2.
        train_file: Your own files instead: CSV, TSV, JSON lines, Parquet, or a folder with one text per
            file; one path, a list, or a pattern such as 'mail/*.csv'.
        validation_file: Validation files; default: a random tenth of `train_file`.
        test_file: Test files; default: another tenth.
        text_column: The column with the texts.
        label_column: The column with the labels.
        pair_column: The column with the second text, to classify pairs.
        label_separator: The separator between the labels of a text, which may then have any number of labels.
        kind: The file type; default: by the file name.
        encoding: The encoding of the files.
        delimiter: The column separator of CSV files; default: detected.
        data_dir: Folder with the published sets; default: $SRU_DATA; if unset, the data is downloaded.
        unit: What a token is: words, subwords, characters or bytes; default: words.
        tokenizer: A Hugging Face `tokenizer.json` or a sentencepiece model; default: train one.
        vocab_size: Maximum size of the vocabulary; default: no limit, or 8,000 subwords.
        min_count: Treat words and characters that occur less often as unknown.
        lowercase: Lowercase the words; default: yes.
        rules: How text is split into words: english, or only at spaces; default: english.
        embeddings: Pretrained word vectors: GloVe text, fastText `.vec` or word2vec `.bin`, plain or `.gz`.
        embedding_size: Length of the word vectors; default: that of the pretrained vectors, or 100.
        embedding_words: Keep the vectors of this many words from the beginning of the file, or of `all`, for
            future texts; words of the training text are always kept.
        freeze_embeddings: Train no vectors but those of padding and unknown words.
        class_weights: balanced: weight the classes in training as if all were equally frequent.
        phrases: Train on all labelled phrases of the training sentences (sst1, sst2), as papers do.
        fold: The fold of a ten-fold cross-validation to test on (mr, cr, subj, mpqa, your own files).
        batch_size: Sentences per batch.
        evaluation_batch_size: The same in validation and test; default: four times `batch_size`.
        seed: Seed of splits, of the order of the batches, and of vectors for words without a pretrained one.

    Attributes:
        splits: The sentences.
        label_names: The names of the classes.
        multi_label: Whether a sentence may have any number of classes.
        pairs: Whether two sentences are classified together.
        tokenizer: Converts text to word ids.
        fixed_vectors: The number of vectors at the end that stay fixed.
        pretrained: The vectors to start from, if a file was named.

    Raises:
        ValueError: A size is less than 1, or options exclude each other.
        UserError: Neither a published set nor files are named, or both are.
    """

    pretrained: EmbeddingMatrix | None = None
    fixed_vectors = 0
    multi_label = pairs = False
    evaluation_factor = 4

    def __init__(
        self,
        name: DatasetName | None = None,
        train_file: Files | None = None,
        validation_file: Files | None = None,
        test_file: Files | None = None,
        text_column: str = "text",
        label_column: str = "label",
        pair_column: str | None = None,
        label_separator: str | None = None,
        kind: Kind | None = None,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        data_dir: str | None = None,
        unit: Unit | None = None,
        tokenizer: str | None = None,
        vocab_size: int | None = None,
        min_count: int = 1,
        lowercase: bool | None = None,
        rules: Rules | None = None,
        embeddings: str | None = None,
        embedding_size: int | None = None,
        embedding_words: int | Literal["all"] = 50_000,
        freeze_embeddings: bool = False,
        class_weights: Literal["balanced"] | None = None,
        phrases: bool = False,
        fold: int = 0,
        batch_size: int = 32,
        evaluation_batch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(
            1,
            embedding_size=embedding_size,
            batch_size=batch_size,
            evaluation_batch_size=evaluation_batch_size,
            min_count=min_count,
            vocab_size=vocab_size,
        )
        if embedding_words != "all":
            check_at_least(0, embedding_words=embedding_words)
        check_options(
            unit,
            tokenizer,
            vocab_size=vocab_size,
            min_count=min_count,
            lowercase=lowercase,
            rules=rules,
            embeddings=embeddings,
        )
        if freeze_embeddings and embeddings is None:
            raise ValueError("freeze_embeddings needs pretrained vectors; give --data.embeddings FILE")
        self.save_hyperparameters(logger=False)
        check_source(self.hparams)
        self.dataset = self.group = name or name_of_files(train_file or "")
        self.embedding_size = 100 if embedding_size is None else embedding_size
        self._labels: list[str] | None = None

    @property
    def folds(self) -> int:
        """The number of folds of a cross-validation; 0 if there is a test set."""
        if self.hparams["name"] is None:
            return classification.NUM_FOLDS if self.hparams["test_file"] is None else 0
        return classification.count_folds(self.hparams["name"])

    def setup(self, stage: str) -> None:
        """Read, or download, the sentences and the word vectors, and build the vocabulary.

        Raises:
            DataError: A file is missing or malformed.
            UserError: No vocabulary can be built from the sentences.
        """
        if self.parts:
            return
        options = self.hparams
        self.splits = read_splits(self.hparams)
        self.label_names = list(self.splits.label_names)
        self.multi_label = self.splits.multi_label
        self.pairs = options["pair_column"] is not None
        if self._labels is not None:
            self._check_labels(self._labels)
        if self.tokenizer is None:
            self.tokenizer, self.fixed_vectors = make_tokenizer(self._texts(), self.dataset, options)
        if options["embeddings"] is not None and stage == "fit":
            self.pretrained = embedding_matrix(
                options["embeddings"],
                self.tokenizer.tokens,
                dim=options["embedding_size"],
                seed=options["seed"],
            )
            self.embedding_size = self.pretrained.weight.shape[1]
        classes = len(self.label_names)
        for part in _PARTS:
            self.parts[part] = EncodedExamples(
                getattr(self.splits, part), self.tokenizer, num_classes=classes
            )

    def _texts(self) -> Iterator[str]:
        train = self.splits.train
        pairs = (example.pair for example in train if example.pair is not None)
        return chain((example.text for example in train), pairs)

    def class_weights(self) -> list[float] | None:
        """Return the weights that balance the classes, if requested.

        Raises:
            DataError: A class has no training example.
        """
        if self.hparams["class_weights"] is None:
            return None
        train: Any = self.parts["train"]
        return train.balanced_weights(self.label_names, place=self.dataset)  # type: ignore[no-any-return]

    def opening(self) -> str:
        """Count the examples, the words with a pretrained vector, and the unknown words."""
        parts: dict[str, Any] = self.parts
        lines = []
        if self.hparams["train_file"] is not None:
            sizes = " + ".join(f"{len(parts[part]):,}" for part in _PARTS)
            labels = parts["train"].summary(self.label_names)
            lines.append(f"{self.dataset}: {sizes} texts for training, validation and test; labels: {labels}")
            lines += self.splits.notes
        if self.pretrained is not None:
            words, file = len(self.tokenizer) - SPECIAL, self.hparams["embeddings"]
            lines.append(f"{self.pretrained.found:,} of {words:,} words have a vector in {file}")
        for part in _PARTS[1:]:
            if (unknown := self.unknown(part)) is not None:
                lines.append(f"{part}: {unknown.summary()}")
        return "\n".join(lines)

    def unknown(self, stage: str) -> UnknownParts | None:
        """Count the unknown words of a part; bytes are never unknown."""
        if isinstance(self.tokenizer, ByteTokenizer):
            return None
        part: Any = self.parts[stage]
        unknown = UnknownParts(self.tokenizer)
        unknown.count(part.encoded(getattr(self.splits, stage)))
        return unknown

    def length(self, item: Item) -> int:
        """The number of words."""
        return max(len(item.ids), 0 if item.pair is None else len(item.pair))

    def lengths(self, items: Any) -> list[int]:
        """The number of words of each item."""
        return items.lengths()  # type: ignore[no-any-return]

    @staticmethod
    def collate(items: Sequence[Item]) -> Batch:
        """Pad sentences into a batch."""
        ids, mask = pad([item.ids for item in items])
        found = [item.label for item in items]
        labels = torch.stack(found) if isinstance(found[0], Tensor) else torch.tensor(found)  # type: ignore[arg-type]
        pairs = [item.pair for item in items if item.pair is not None]
        return Batch(ids, mask, labels, *(pad(pairs) if pairs else ()))

    def take_tokenizer(self, tokenizer: str, config: Mapping[str, Any]) -> None:
        """Use the vocabulary of a trained model, with as many fixed vectors."""
        super().take_tokenizer(tokenizer, config)
        self.fixed_vectors = config["fixed_vectors"]

    def state_dict(self) -> dict[str, Any]:
        """Return the tokenizer and the names of the labels."""
        state = {**super().state_dict(), "fixed_vectors": self.fixed_vectors}
        return {**state, "labels": self.label_names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a checkpoint's tokenizer and labels.

        Raises:
            DataError: The data produced different ones, so the ids would mean other tokens or labels.
        """
        labels = state_dict.get("labels")
        if labels is not None and self.parts:
            self._check_labels(labels)
        try:
            super().load_state_dict(state_dict)
        except DataError as error:
            if labels is not None:
                raise
            raise DataError(
                f"this run was started by an older version on {self.dataset} and split words only at white "
                "space; it can be tested and used, but not continued: start a new one"
            ) from error
        self._labels, self.fixed_vectors = labels, state_dict.get("fixed_vectors", 0)

    def _check_labels(self, labels: Sequence[str]) -> None:
        if self.label_names != list(labels):
            raise DataError(
                f"the labels of {self.dataset} differ from those this checkpoint was trained with: expected "
                f"{', '.join(labels)}, got {', '.join(self.label_names)}"
            )
