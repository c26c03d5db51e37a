"""The vocabulary of a classifier: the words of the training text, and further words with vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sru_apps.train.errors import UserError
from sru_data.embeddings import frequent_words
from sru_data.texts import Unit
from sru_data.tokenizers import (
    ByteTokenizer,
    CharTokenizer,
    SubwordTokenizer,
    Tokenizer,
    WordTokenizer,
    load_tokenizer,
)

SPECIAL = 2
"""Padding and the unknown token, which come first."""
_PIECES = 8000
_OWNERS: dict[str, tuple[Unit, ...]] = {
    "rules": ("words",),
    "lowercase": ("words",),
    "min_count": ("words", "characters"),
    "vocab_size": ("words", "subwords", "characters"),
    "embeddings": ("words",),
}
"""The units that each option applies to."""


def check_options(unit: Unit | None, tokenizer: str | None, **given: Any) -> None:
    """Refuse options that do not apply to the vocabulary.

    Args:
        unit: The unit, if one was chosen.
        tokenizer: The file of a tokenizer, if one was chosen.
        given: The other options; None, and 1 for `min_count`, mean the default.

    Raises:
        ValueError: An option is for another unit, or for training a tokenizer although one is given.
    """
    given = {name: value for name, value in given.items() if value not in (None, 1)}
    if tokenizer is not None:
        useless = ["unit"] if unit is not None else sorted(given.keys() - {"embeddings"})
        if useless:
            raise ValueError(f"with --data.tokenizer there is no option {useless[0]}; leave {useless[0]} out")
        return
    for name in given:
        if (unit or "words") not in _OWNERS[name]:
            raise ValueError(f"{name} is for {' and '.join(_OWNERS[name])}, not for {unit}; leave it out")


def make_tokenizer(texts: Iterable[str], name: str, options: Mapping[str, Any]) -> tuple[Tokenizer, int]:
    """Read the tokenizer that the options name, or train one on some texts.

    Args:
        texts: The texts.
        name: Their name in an error.
        options: The options `--data.*`.

    Returns:
        The tokenizer, and the number of tokens at its end whose vectors stay fixed.

    Raises:
        DataError: A file is missing or damaged.
        UserError: No vocabulary can be built from the texts.
    """
    if options["tokenizer"] is not None:
        tokenizer = load_tokenizer(options["tokenizer"])
    else:
        try:
            tokenizer = _train(texts, options)
        except ValueError as error:
            raise UserError(f"cannot build a vocabulary from {name}: {error}") from error
    trained = SPECIAL if options["freeze_embeddings"] else len(tokenizer)
    embeddings, count = options["embeddings"], options["embedding_words"]
    if embeddings is not None and count != 0 and isinstance(tokenizer, WordTokenizer):
        tokenizer = tokenizer.extended(frequent_words(embeddings, None if count == "all" else count))
    return tokenizer, len(tokenizer) - trained


def _train(texts: Iterable[str], options: Mapping[str, Any]) -> Tokenizer:
    unit, size, min_count = options["unit"] or "words", options["vocab_size"], options["min_count"]
    if unit == "bytes":
        return ByteTokenizer()
    if unit == "characters":
        return CharTokenizer.train(texts, min_count=min_count, max_size=size)
    if unit == "subwords":
        return SubwordTokenizer.train(texts, vocab_size=size or _PIECES)
    return WordTokenizer.train(
        texts,
        min_count=min_count,
        max_size=size,
        lowercase=options["lowercase"] is not False,
        rules=options["rules"] or "english",
    )
