"""Characters: Unicode code points, white space included."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from sru_data.tokenizers.counting import most_frequent
from sru_data.tokenizers.huggingface import (
    PAD_TOKEN,
    UNK_TOKEN,
    HuggingFaceTokenizer,
    untrained_word_level,
)
from sru_data.tokenizers.protocol import UNK_ID

_ANY_CHARACTER = r"[\s\S]"
_PARTS_BEFORE_LOOK_UP = ("normalizer", "pre_tokenizer")


class CharTokenizer(HuggingFaceTokenizer):
    """One token per code point; `decode` is the exact inverse for text whose characters are all known."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        super().__init__(backend)
        self._id_of = {token: index for index, token in enumerate(self._tokens)}

    @classmethod
    def train(cls, texts: Iterable[str], *, min_count: int = 1, max_size: int | None = None) -> CharTokenizer:
        """Collect the characters, the most frequent first.

        Args:
            texts: The text to count in.
            min_count: Characters that come less often are unknown.
            max_size: The largest size of the vocabulary, padding and unknown included.

        Raises:
            ValueError: `min_count` or `max_size` is too small, or the texts are empty.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        special = (PAD_TOKEN, UNK_TOKEN)
        vocabulary = most_frequent(counts, special=special, min_count=min_count, max_size=max_size)
        backend = _untrained()
        backend.model = models.WordLevel(vocabulary, UNK_TOKEN)
        backend.add_special_tokens(list(special))
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
    """Whether a backend looks up each character as it stands, as those of `CharTokenizer.train` do."""
    own, given = json.loads(_untrained().to_str()), json.loads(backend.to_str())
    return all(given[part] == own[part] for part in _PARTS_BEFORE_LOOK_UP)


def _untrained() -> tokenizers.Tokenizer:
    backend = untrained_word_level()
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(_ANY_CHARACTER), "isolated")
    backend.decoder = decoders.Fuse()
    return backend
