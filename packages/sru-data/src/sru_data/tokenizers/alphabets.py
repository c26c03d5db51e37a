"""Alphabets for speech recognition: the tokenizer whose tokens a model outputs, and transcripts as ids.

Any tokenizer can be an alphabet. Its padding, id 0, is the blank of CTC, which no text is encoded as.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from sru_data.tokenizers.characters import CharTokenizer
from sru_data.tokenizers.protocol import UNK_ID, Tokenizer
from sru_data.tokenizers.subwords import SubwordTokenizer
from sru_data.tokenizers.words import WordTokenizer

Unit = Literal["characters", "words", "phones", "subwords"]
"""What a token represents; phones are the words of a transcript of phones separated by spaces."""


def train_alphabet(texts: Iterable[str], *, unit: Unit, vocab_size: int | None = None) -> Tokenizer:
    """Build a case-sensitive alphabet from transcripts.

    Args:
        texts: The transcripts to train on.
        unit: What a token is.
        vocab_size: The size of the vocabulary, including blank and unknown; only for `subwords`, which
            require it.

    Raises:
        ValueError: Unknown `unit`, a `vocab_size` that is missing or does not apply to the unit, or no text.
    """
    if unit not in get_args(Unit):
        raise ValueError(f"train_alphabet: unit must be one of {', '.join(get_args(Unit))}, got {unit!r}")
    if (unit == "subwords") != (vocab_size is not None):
        raise ValueError(
            f"train_alphabet: vocab_size is required for subwords and only for them, got {vocab_size} for "
            f"{unit}"
        )
    spoken = [text for text in texts if text.strip()]
    if vocab_size is not None:
        return SubwordTokenizer.train(spoken, vocab_size=vocab_size)
    if unit == "characters":
        return CharTokenizer.train(spoken)
    return WordTokenizer.train(spoken, lowercase=False)


def encode_transcript(alphabet: Tokenizer, text: str) -> list[int]:
    """Return the ids of a transcript, the target of CTC; an empty list if nothing is said.

    Args:
        alphabet: The alphabet.
        text: The transcript.
    """
    return alphabet.encode(text) if text.strip() else []


def symbols_outside(alphabet: Tokenizer, text: str) -> list[str]:
    """Return the words, phones or characters of a transcript that are missing from the alphabet, sorted.

    Args:
        alphabet: The alphabet.
        text: The transcript.
    """
    ids, words = encode_transcript(alphabet, text), text.split()
    if UNK_ID not in ids:
        return []
    parts = words if len(ids) == len(words) else list(text)
    return sorted({part for part in parts if UNK_ID in encode_transcript(alphabet, part)})
