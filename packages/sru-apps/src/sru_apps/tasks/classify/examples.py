"""Encoded texts with their labels, packed, so that a million of them fit in memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

import torch
from torch import Tensor

from sru_data import DataError
from sru_data.datasets.classification import Example
from sru_data.loaders.buckets import pad_sequences
from sru_data.tokenizers import Tokenizer

_CLASSES_SHOWN = 10


class Item(NamedTuple):
    """An encoded text, or a pair of them, with its label."""

    ids: Tensor
    """(T,) int64."""
    label: int | Tensor
    """A class, or (C,) bool if a text may have any number of labels."""
    pair: Tensor | None = None
    """The second text, (T',) int64."""


class PackedTexts:
    """Token ids of many texts in one tensor, four bytes each.

    Args:
        texts: The texts.
        tokenizer: The tokenizer that encodes them.

    Attributes:
        ids: (total,) int32, all texts.
        ends: (N + 1,) int64: text i is `ids[ends[i]:ends[i + 1]]`.
    """

    def __init__(self, texts: Iterable[str], tokenizer: Tokenizer) -> None:
        ids, ends = array("i"), array("q", [0])
        for text in texts:
            ids.extend(tokenizer.encode(text))
            ends.append(len(ids))
        self.ids = torch.frombuffer(ids, dtype=torch.int32) if ids else torch.empty(0, dtype=torch.int32)
        self.ends = torch.frombuffer(ends, dtype=torch.int64)
        self._places = ends

    def __getitem__(self, index: int) -> Tensor:
        """Return the ids of a text, (T,) int64."""
        return self.ids[self._places[index] : self._places[index + 1]].long()

    @property
    def lengths(self) -> Tensor:
        """(N,) int64, the number of tokens of each text."""
        return self.ends.diff()


class EncodedExamples(Sequence[Item]):
    """The examples of one part of the data.

    Args:
        examples: Texts and labels.
        tokenizer: The tokenizer that encodes the texts.
        num_classes: C.
    """

    def __init__(self, examples: Sequence[Example], tokenizer: Tokenizer, *, num_classes: int) -> None:
        self.texts = PackedTexts((example.text for example in examples), tokenizer)
        self.pairs: PackedTexts | None = None
        if examples and examples[0].pair is not None:
            self.pairs = PackedTexts((example.pair or "" for example in examples), tokenizer)
        self.labels = [example.label for example in examples]
        self.num_classes = num_classes

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """Return an example, or several."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        label: int | Tensor | tuple[int, ...] = self.labels[index]
        if isinstance(label, tuple):
            places = torch.tensor(label, dtype=torch.int64)
            label = torch.zeros(self.num_classes, dtype=torch.bool).index_fill_(0, places, True)
        return Item(self.texts[index], label, None if self.pairs is None else self.pairs[index])

    def lengths(self) -> list[int]:
        """Return the length of each example; for a pair, that of its longer text."""
        lengths = self.texts.lengths
        if self.pairs is not None:
            lengths = torch.maximum(lengths, self.pairs.lengths)
        return lengths.tolist()

    def class_counts(self) -> Tensor:
        """Count how many examples have each label: (C,) int64."""
        flat = array("q")
        for label in self.labels:
            flat.extend((label,) if isinstance(label, int) else label)
        labels = torch.frombuffer(flat, dtype=torch.int64) if flat else torch.empty(0, dtype=torch.int64)
        return labels.bincount(minlength=self.num_classes)

    def summary(self, names: Sequence[str]) -> str:
        """List the first classes, each with its number of examples.

        Args:
            names: The names of the classes.
        """
        pairs = zip(names[:_CLASSES_SHOWN], self.class_counts().tolist(), strict=False)
        more = ", ..." if len(names) > _CLASSES_SHOWN else ""
        return ", ".join(f"{name} ({count:,})" for name, count in pairs) + more

    def balanced_weights(self, names: Sequence[str], *, place: str) -> list[float]:
        """Return the weights that balance the classes.

        With N examples, n_c of them in class c, the weight of c is N/(C·n_c); if an example may have any
        number of labels, it is (N − n_c)/n_c for those with c, and at least 1/N.

        Args:
            names: The names of the classes.
            place: The name of the data in an error.

        Raises:
            DataError: A class has no example.
        """
        counts = self.class_counts().double()
        if not counts.all():
            raise DataError(
                f"balanced class weights need a training example of every class, got none of "
                f"{names[int(counts.argmin())]!r} in {place}; leave class_weights out"
            )
        total = len(self)
        if isinstance(self.labels[0], int):
            weights = total / (len(counts) * counts)
        else:
            weights = ((total - counts) / counts).clamp(min=1 / total)
        return weights.tolist()

    def encoded(self, examples: Sequence[Example]) -> Iterator[tuple[str, list[int]]]:
        """Yield each text with its tokens.

        Args:
            examples: The examples that were encoded.
        """
        for place, example in enumerate(examples):
            yield example.text, self.texts[place].tolist()
            if self.pairs is not None:
                yield example.pair or "", self.pairs[place].tolist()


def pad(texts: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return texts padded to the longest, time-major, and the padding mask, or None without padding."""
    padded = pad_sequences(texts, batch_first=False)
    return padded.ids, padded.mask if padded.mask.any() else None
