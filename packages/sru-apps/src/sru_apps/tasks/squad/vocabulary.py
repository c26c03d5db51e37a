"""The vocabulary of a reader: the words it learns vectors for, then those whose vectors stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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

    Without an embedding file these are the words of the training part, all with vectors to be learned. With
    one they are the most frequent words of the training questions, whose vectors are tuned, and then, with
    fixed vectors, all other words of the data that the file has and the first words of the file.

    Args:
        prepared: The questions.
        options: The options `--data.*`.

    Raises:
        DataError: The embedding file is missing or damaged.
        UserError: No word of the data is left.
    """
    lowercase, path = options["lowercase"], options["embeddings"]
    if path is None:
        tokenizer = WordTokenizer.from_words(
            _training_words(prepared, options["min_count"]), lowercase=lowercase
        )
        if len(tokenizer) == SPECIAL:
            raise UserError(
                f"no word of {prepared.name} occurs {options['min_count']} times; lower --data.min_count"
            )
        return Vocabulary(tokenizer)
    tuned = _first_words(prepared, options["tune_words"], lowercase=lowercase)
    trained = len(WordTokenizer.from_words(tuned, lowercase=lowercase))
    words = [word.lower() if lowercase else word for word in prepared.words[1:]]
    known = read_embeddings(path, set(words), dim=options["embedding_size"])
    count = options["embedding_words"]
    others = [word for word in words if word in known] if count != 0 else []
    others += frequent_words(path, None if count == "all" else count)
    tokenizer = WordTokenizer.from_words([*tuned, *others], lowercase=lowercase)
    matrix = embedding_matrix(path, tokenizer.tokens, dim=options["embedding_size"], seed=options["seed"])
    return Vocabulary(tokenizer, 0 if options["tune_words"] == "all" else len(tokenizer) - trained, matrix)
