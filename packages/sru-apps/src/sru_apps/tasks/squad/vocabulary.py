"""The vocabulary of a reader: first the words with learned vectors, then those with fixed vectors."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_apps.train.errors import UserError
from sru_data.embeddings import EmbeddingMatrix, embedding_matrix, frequent_words, read_embeddings
from sru_data.question_files import PreparedQuestions
from sru_data.tokenizers import WordTokenizer

SPECIAL = 2
"""Padding and the unknown word, which come first."""
MANY = 0.1
"""The share of unknown words in training above which it is reported."""


class Vocabulary(NamedTuple):
    """The words of a reader."""

    tokenizer: WordTokenizer
    """Converts words to ids."""
    fixed: int = 0
    """The number of words at the end whose vectors stay fixed."""
    pretrained: EmbeddingMatrix | None = None
    """The vectors to start from."""


def make_vocabulary(prepared: PreparedQuestions, options: Mapping[str, Any]) -> Vocabulary:
    """Choose the words of the vocabulary.

    Words with learned vectors come first: the most frequent words of the training questions, and words that
    have no pretrained vector but occur often enough in the training part. Words with fixed vectors follow:
    all other words of the data, and the first words of the embedding file.

    Args:
        prepared: The questions.
        options: The options `--data.*`.

    Raises:
        DataError: The embedding file is missing or damaged.
        UserError: No word of the data is left.
    """
    lowercase, path, size = options["lowercase"], options["embeddings"], options["embedding_size"]
    tune, keep = options["tune_words"], options["embedding_words"]
    frequent = _by_frequency(prepared, prepared.training_words, options, at_least=options["min_count"])
    if path is None:
        tokenizer = WordTokenizer.from_words(frequent, lowercase=lowercase)
        if len(tokenizer) == SPECIAL:
            raise UserError(
                f"no word of {prepared.name} occurs {options['min_count']} times; lower --data.min_count"
            )
        return Vocabulary(tokenizer)
    given = chain(prepared.words[1:], frequent_words(path, None if keep == "all" else keep))
    # Not a set, whose order would differ between processes.
    wanted = dict.fromkeys(word.lower() if lowercase else word for word in given)
    known = read_embeddings(path, wanted, dim=size)
    asked = _by_frequency(prepared, prepared.question_words, options)
    without = (word for word in frequent if word not in known)
    tuned = WordTokenizer.from_words(
        chain(frequent if tune == "all" else asked[:tune], without), lowercase=lowercase
    )
    tokenizer = tuned.extended(known)
    matrix = embedding_matrix(path, tokenizer.tokens, dim=size, seed=options["seed"], vectors=known)
    return Vocabulary(tokenizer, 0 if tune == "all" else len(tokenizer) - len(tuned), matrix)


def describe(
    vocabulary: Vocabulary, prepared: PreparedQuestions, rows: Tensor, options: Mapping[str, Any]
) -> list[str]:
    """Describe where the vectors come from, and report if many words have no vector of their own.

    Args:
        vocabulary: The vocabulary.
        prepared: The questions.
        rows: (S,) int64, the id of each surface form in the vocabulary.
        options: The options `--data.*`.
    """
    tokenizer, fixed, pretrained = vocabulary
    words = len(tokenizer) - SPECIAL
    if pretrained is None:
        lines = [
            f"the vectors of all {words:,} words are random at first; --embeddings FILE gives pretrained ones"
        ]
    else:
        found, file = pretrained.found, options["embeddings"]
        lines = [f"{found:,} of {words:,} words have a vector in {file}; {words - fixed:,} are trained"]
    counts = prepared.training_words
    share = float(counts[rows == tokenizer.unk_id].sum() / counts.sum())
    if share >= MANY:
        lines.append(
            f"{100 * share:.1f} % of the words in training are unknown, because they occur fewer than "
            f"{options['min_count']} times; lower --data.min_count"
        )
    return lines


def _by_frequency(
    prepared: PreparedQuestions, counts: Tensor, options: Mapping[str, Any], *, at_least: int = 1
) -> list[str]:
    """Return words, the most frequent first.

    Args:
        prepared: The questions.
        counts: (S,) int64, how often each surface form occurs.
        options: The options `--data.*`.
        at_least: How often a word must occur.
    """
    words = prepared.words
    if options["lowercase"]:
        counts = torch.zeros_like(counts).index_add_(0, prepared.lower, counts)
    order = counts.sort(descending=True, stable=True)
    kept = order.indices[: int((order.values >= at_least).sum())].tolist()
    return [words[number].lower() if options["lowercase"] else words[number] for number in kept if number]
