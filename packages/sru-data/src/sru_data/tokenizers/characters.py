"""Characters: Unicode code points, white space included."""

from __future__ import annotations

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, pre_tokenizers

from sru_data.tokenizers.huggingface import HuggingFaceTokenizer, train_word_level, untrained_word_level
from sru_data.tokenizers.protocol import UNK_ID

_ANY_CHARACTER = r"[\s\S]"


class CharTokenizer(HuggingFaceTokenizer):
    """One token per code point; `decode` is the exact inverse for text whose characters are all known."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        super().__init__(backend)
        self._id_of = {token: index for index, token in enumerate(self._tokens)}

    @classmethod
    def train(cls, texts: Iterable[str], *, max_size: int | None = None) -> CharTokenizer:
        """Collect the characters, the most frequent first.

        Args:
            texts: The text to count in.
            max_size: The largest size of the vocabulary, padding and unknown included.

        Raises:
            ValueError: `max_size` is too small, or the texts are empty.
        """
        backend = untrained_word_level()
        backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(_ANY_CHARACTER), "isolated")
        backend.decoder = decoders.Fuse()
        train_word_level(backend, texts, max_size=max_size)
        return cls(backend)

    def encode(self, text: str) -> list[int]:
        """Return the id of each character.

        Args:
            text: Any text; an empty one gives `[unk_id]`.
        """
        # The backend would give the same ids, but many times slower, as it keeps an offset per character, and
        # it would take the five characters of "[PAD]" for the padding token.
        return [self._id_of.get(character, UNK_ID) for character in text] or [UNK_ID]


def is_character_backend(backend: tokenizers.Tokenizer) -> bool:
    """Whether a backend was made by `CharTokenizer.train`."""
    return _ANY_CHARACTER in repr(backend.pre_tokenizer)
