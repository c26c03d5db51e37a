"""The vocabulary of a reader: the words it learns vectors for, then those whose vectors stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_data.question_files import PreparedQuestions

from sru_apps.train.errors import UserError
from sru_data.embeddings import EmbeddingMatrix, embedding_matrix, frequent_words, read_embeddings
from sru_data.tokenizers import WordTokenizer

SPECIAL = 2
"""Padding and the unknown word, which come first."""


class Vocabulary(NamedTuple):
    """The words of a reader."""

    tokenizer: WordTokenizer
    """Words to numbers."""
    fixed: int = 0
    """How many of the last words have vectors that training leaves as they are."""
    pretrained: EmbeddingMatrix | None = None
    """The vectors to start from."""


def make_vocabulary(prepared: PreparedQuestions, options: Mapping[str, Any]) -> Vocabulary:
    """Choose the words.

    First come those whose vectors are learned: with an embedding file the most frequent words of the training
    questions, without one all words of the training part. Then, with vectors that stay as they are, all other
    words of the data that the file has, and the first words of the file.

    Args:
        prepared: The questions.
        options: The options `--data.*`.

    Raises:
        DataError: The embedding file is missing or damaged.
        UserError: No word of the data is left.
    """
    lowercase, path, size = options["lowercase"], options["embeddings"], options["embedding_size"]
    tune, keep = options["tune_words"], options["embedding_words"]
    if path is None or tune == "all":
        tuned = _frequent(prepared, prepared.training_words(), options)
    else:
        tuned = _frequent(prepared, prepared.question_words(), options)[:tune]
    tokenizer = WordTokenizer.from_words(tuned, lowercase=lowercase)
    if path is None:
        if len(tokenizer) == SPECIAL:
            raise UserError(
                f"no word of {prepared.name} occurs {options['min_count']} times; lower --data.min_count"
            )
        return Vocabulary(tokenizer)
    words = dict.fromkeys(word.lower() if lowercase else word for word in prepared.words[1:])
    known = read_embeddings(path, words, dim=size)
    trained = len(tokenizer)
    tokenizer = tokenizer.extended(chain(known, frequent_words(path, None if keep == "all" else keep)))
    matrix = embedding_matrix(path, tokenizer.tokens, dim=size, seed=options["seed"])
    return Vocabulary(tokenizer, 0 if tune == "all" else len(tokenizer) - trained, matrix)


def _frequent(prepared: PreparedQuestions, counts: Tensor, options: Mapping[str, Any]) -> list[str]:
    """Return the words that occur `min_count` times, the most frequent first.

    Args:
        prepared: The questions.
        counts: (S,) int64, how often each surface form occurs.
        options: The options `--data.*`.
    """
    if options["lowercase"]:
        counts = torch.zeros_like(counts).index_add_(0, prepared.lower, counts)
    order = counts.sort(descending=True, stable=True)
    kept = int((order.values >= options["min_count"]).sum())
    return [prepared.words[number] for number in order.indices[:kept].tolist() if number]
