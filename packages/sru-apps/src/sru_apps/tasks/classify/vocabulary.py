"""The vocabulary of a classifier: the words of the training text, and further ones that have a vector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from sru_apps.train.errors import UserError
from sru_data.embeddings import frequent_words
from sru_data.texts import Unit
from sru_data.tokenizers import ByteTokenizer, CharTokenizer, SubwordTokenizer, Tokenizer, WordTokenizer

Rules = Literal["english", "spaces"]
_PIECES = 8000
_OWNERS: dict[str, tuple[Unit, ...]] = {
    "rules": ("words",),
    "lowercase": ("words",),
    "min_count": ("words", "characters"),
    "vocab_size": ("words", "subwords", "characters"),
    "embeddings": ("words",),
}
"""The units that an option is for."""


def check_options(unit: Unit | None, tokenizer: str | None, **given: Any) -> None:
    """Refuse options that the vocabulary has no use for.

    Args:
        unit: The unit, if one was chosen.
        tokenizer: The file of a tokenizer, if one was chosen.
        given: The other options; None, and 1 for `min_count`, stand for the default.

    Raises:
        ValueError: An option is for another unit, or a tokenizer is not to be trained.
    """
    given = {name: value for name, value in given.items() if value not in (None, 1)}
    if tokenizer is not None:
        useless = ["unit"] if unit is not None else sorted(given.keys() - {"embeddings"})
        if useless:
            raise ValueError(f"a given tokenizer has no option {useless[0]}; leave {useless[0]} out")
        return
    for name in given:
        if (unit or "words") not in _OWNERS[name]:
            raise ValueError(f"{name} is for {' and '.join(_OWNERS[name])}, not for {unit}; leave it out")


def train_tokenizer(
    texts: Iterable[str],
    *,
    name: str,
    unit: Unit = "words",
    vocab_size: int | None = None,
    min_count: int = 1,
    lowercase: bool | None = None,
    rules: Rules | None = None,
) -> Tokenizer:
    """Make the tokenizer of some texts.

    Args:
        texts: The texts.
        name: What to call them in an error.
        unit: What a token is.
        vocab_size: The most words, pieces or characters.
        min_count: Words and characters that occur less often are unknown.
        lowercase: Whether to lower-case words; default: yes.
        rules: How words are told from punctuation; default: `english`.

    Raises:
        UserError: No vocabulary can be made of them.
    """
    try:
        if unit == "bytes":
            return ByteTokenizer()
        if unit == "characters":
            return CharTokenizer.train(texts, min_count=min_count, max_size=vocab_size)
        if unit == "subwords":
            return SubwordTokenizer.train(texts, vocab_size=vocab_size or _PIECES)
        return WordTokenizer.train(
            texts,
            min_count=min_count,
            max_size=vocab_size,
            lowercase=lowercase is not False,
            rules=rules or "english",
        )
    except ValueError as error:
        raise UserError(f"no vocabulary can be made of {name}: {error}") from error


def with_words_of(tokenizer: Tokenizer, embeddings: str, count: int | Literal["all"]) -> Tokenizer:
    """Add the most frequent words of a file of vectors that a tokenizer lacks.

    Args:
        tokenizer: The tokenizer; only one of words is changed.
        embeddings: The file, most frequent words first.
        count: How many words of the file to look at.

    Returns:
        The tokenizer with further tokens at its end.

    Raises:
        DataError: The file is missing or damaged.
    """
    if not isinstance(tokenizer, WordTokenizer) or count == 0:
        return tokenizer
    return tokenizer.extended(frequent_words(embeddings, None if count == "all" else count))
