"""A tokenizer of any unit, learned from a text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from sru_data.texts.source import TextSource, Unit
from sru_data.tokenizers.bytes import ByteTokenizer
from sru_data.tokenizers.characters import CharTokenizer
from sru_data.tokenizers.protocol import Tokenizer
from sru_data.tokenizers.subwords import SubwordTokenizer
from sru_data.tokenizers.words import WordTokenizer

UNKNOWN_WORD = "<unk>"
SUBWORD_SAMPLE_BLOCKS = 64


def train_tokenizer(
    source: TextSource,
    *,
    unit: Unit,
    vocab_size: int | None = None,
    min_count: int = 1,
    lowercase: bool = False,
    threads: int = 16,
) -> Tokenizer:
    """Train the tokenizer of a language model, with line ends as tokens.

    The text is streamed. Words (with `<unk>` as the unknown word) and characters are counted over the whole
    text. Subwords, which sentencepiece learns in memory, are learned from evenly spaced blocks of at most 64
    MiB in total. The same text and options give the same tokenizer.

    Args:
        source: The text to learn from.
        unit: What a token is.
        vocab_size: Maximum size of the vocabulary, including padding and unknown. Required for subwords.
        min_count: Words or characters that occur less often are unknown.
        lowercase: Whether to lower-case words.
        threads: The number of threads to learn subwords; a different number may give slightly different
            pieces.

    Raises:
        ValueError: Unknown `unit`, or an option that the unit does not have or that this text cannot satisfy.
        DataError: The text cannot be read, is empty, or is not UTF-8.
    """
    _check(unit, vocab_size=vocab_size, min_count=min_count, lowercase=lowercase)
    if unit == "bytes":
        return ByteTokenizer()
    if unit == "subwords":
        return SubwordTokenizer.train(
            _sampled_lines(source), vocab_size=vocab_size or 0, lossless=True, threads=threads
        )
    texts = (block.decode() for block in source.blocks())
    if unit == "characters":
        return CharTokenizer.train(texts, min_count=min_count, max_size=vocab_size)
    return WordTokenizer.train(
        texts,
        min_count=min_count,
        max_size=vocab_size,
        lowercase=lowercase,
        line_ends=True,
        unk_token=UNKNOWN_WORD,
    )


def _check(unit: Unit, *, vocab_size: int | None, min_count: int, lowercase: bool) -> None:
    if unit not in get_args(Unit):
        raise ValueError(
            f"train_tokenizer: unit must be 'words', 'characters', 'bytes' or 'subwords', got {unit!r}"
        )
    if unit == "subwords" and vocab_size is None:
        raise ValueError(
            "train_tokenizer: subwords need a vocab_size, got None; 8000 is usual for a few million words"
        )
    for option, given, units in (
        ("vocab_size", vocab_size is not None, ("words", "characters", "subwords")),
        ("min_count", min_count != 1, ("words", "characters")),
        ("lowercase", lowercase, ("words",)),
    ):
        if given and unit not in units:
            raise ValueError(
                f"train_tokenizer: {option} is an option of {' and '.join(units)}, not of {unit}; "
                "leave it out"
            )


def _sampled_lines(source: TextSource) -> Iterator[str]:
    """Yield the lines of every n-th block, where n is the smallest power of two that keeps to the limit."""
    kept: list[str] = []
    step = 1
    for index, block in enumerate(source.blocks()):
        if index % step == 0:
            kept.append(block.decode())
        if len(kept) > SUBWORD_SAMPLE_BLOCKS:
            kept = kept[::2]
            step *= 2
    return (line for text in kept for line in text.split("\n"))
