"""Batches of questions with their passages, the input of a reader.

Passages and questions arrive as ids of surface forms. Comparing ids shows whether a word of a passage occurs
in the question, so building a batch takes a few tensor operations and no string operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sru_data.loaders.buckets import pad_sequences
from sru_data.question_files import Example, Tokens
from sru_data.tokenizers import WordTokenizer


class ReaderInput(NamedTuple):
    """Passages and questions, time-major: T words in the longest passage, J in the longest question."""

    document: Tensor
    """(T, B) int64, rows of the embedding."""
    document_mask: Tensor | None
    """(T, B) bool, True at padding; None without padding, which is faster."""
    question: Tensor
    """(J, B) int64."""
    question_mask: Tensor | None
    """(J, B) bool, like `document_mask`."""
    features: Tensor
    """(T, B, F) float32: whether the question contains the word, its lower-cased form and its lemma (if there
    are lemmas), and the share of the passage that the word makes up."""
    tags: Tensor | None = None
    """(T, B) int64, parts of speech; 0 at padding."""
    entities: Tensor | None = None
    """(T, B) int64, kinds of named entities; 0 at padding."""
    question_tags: Tensor | None = None
    """(J, B) int64."""
    question_entities: Tensor | None = None
    """(J, B) int64."""


class Batch(NamedTuple):
    """Questions with their passages and answers."""

    inputs: ReaderInput
    """The arguments of the network."""
    start: Tensor
    """(B,) int64, the first word of the answer; -1 for none."""
    end: Tensor
    """(B,) int64, its last word; -1 for none."""
    index: Tensor  # type: ignore[assignment]  # hides the method of tuples
    """(B,) int64, the indices of the questions."""


class WordTable(NamedTuple):
    """How a model reads each of S surface forms; id 0 is padding."""

    rows: Tensor
    """(S,) int64, its row of the embedding."""
    lower: Tensor
    """(S,) int64, an id for its lower-cased form."""

    @classmethod
    def of(cls, words: Sequence[str], tokenizer: WordTokenizer, *, lower: Tensor | None = None) -> WordTable:
        """Look up surface forms.

        Args:
            words: The forms by id; the first one is padding.
            tokenizer: The vocabulary of the model.
            lower: The ids of the lower-cased forms, if they are known.
        """
        rows = torch.tensor(tokenizer.ids_of(words))
        rows[0] = tokenizer.pad_id
        if lower is None:
            first: dict[str, int] = {}
            lower = torch.tensor([first.setdefault(word.lower(), len(first)) for word in words])
        return cls(rows, lower)


def make_batch(examples: Sequence[Example], table: WordTable) -> Batch:
    """Pad examples into a batch.

    Args:
        examples: B questions with their passages, as ids of surface forms.
        table: How the model reads the forms.
    """
    document, document_mask = _pad([example.context for example in examples])
    question, question_mask = _pad([example.question for example in examples])
    lengths = torch.tensor([len(example.context.words) for example in examples])
    inputs = ReaderInput(
        document=table.rows[document.words],
        document_mask=document_mask,
        question=table.rows[question.words],
        question_mask=question_mask,
        features=_features(document, question, lengths, table.lower),
        tags=document.tags,
        entities=document.entities,
        question_tags=question.tags,
        question_entities=question.entities,
    )
    places = torch.tensor([(example.start, example.end, example.index) for example in examples])
    return Batch(inputs, *places.unbind(1))


def _pad(texts: Sequence[Tokens]) -> tuple[Tokens, Tensor | None]:
    """Pad every kind of id to the longest text, (T, B), and return the mask, None without padding."""
    words = pad_sequences([text.words for text in texts], batch_first=False)
    others = [
        None
        if getattr(texts[0], name) is None
        else pad_sequences([getattr(text, name) for text in texts], batch_first=False).ids
        for name in ("lemmas", "tags", "entities")
    ]
    mask = words.mask if bool(words.mask.any()) else None
    return type(texts[0])(words.ids, *others), mask


def _features(document: Tokens, question: Tokens, lengths: Tensor, lower: Tensor) -> Tensor:
    """Return the features of `ReaderInput`; all are 0 at padding."""
    is_padding = document.words == 0
    small = lower[document.words]
    features = [_occurs(document.words, question.words), _occurs(small, lower[question.words])]
    if document.lemmas is not None and question.lemmas is not None:
        features.append(_occurs(document.lemmas, question.lemmas))
    # Distinguish equal words of different passages.
    columns = len(lengths)
    keys = small * columns + torch.arange(columns)
    _, places, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    features.append(counts[places] / lengths)
    return torch.stack(features, -1).masked_fill_(is_padding.unsqueeze(-1), 0)


def _occurs(words: Tensor, among: Tensor) -> Tensor:
    """Whether a word, (T, B), is among others of the same column, (J, B): (T, B) float32."""
    return (words.unsqueeze(1) == among).any(1).float()
