"""Characters: Unicode code points, white space included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from sru_data.tokenizers.huggingface import PAD_TOKEN, UNK_TOKEN, HuggingFaceTokenizer, alike, most_frequent
from sru_data.tokenizers.protocol import UNK_ID

_ANY_CHARACTER = r"[\s\S]"


class CharTokenizer(HuggingFaceTokenizer):
    """One token per code point; `decode` is the exact inverse for text of known characters."""

    @classmethod
    def train(cls, texts: Iterable[str], *, min_count: int = 1, max_size: int | None = None) -> CharTokenizer:
        """Collect the characters, the most frequent first.

        Args:
            texts: The text to count in.
            min_count: Characters that occur less often are unknown.
            max_size: Maximum size of the vocabulary, including padding and unknown.

        Raises:
            ValueError: `min_count` or `max_size` is too small, or the texts are empty.
        """
        special = (PAD_TOKEN, UNK_TOKEN)
        characters = Counter(chain.from_iterable(texts))
        backend = _untrained(
            most_frequent(characters, special=special, min_count=min_count, max_size=max_size)
        )
        backend.add_special_tokens(list(special))
        return cls(backend)

    @classmethod
    def fits(cls, backend: tokenizers.Tokenizer) -> bool:
        """Whether a backend looks up each character unchanged, like those of `CharTokenizer.train`."""
        return alike(backend, _untrained(), "normalizer", "pre_tokenizer")

    def encode(self, text: str) -> list[int]:
        """Return the id of each character.

        Args:
            text: Any text; an empty one is encoded as `[unk_id]`.
        """
        # The backend would return the same ids many times more slowly, because it keeps an offset per
        # character, and it would take the five characters of "[PAD]" for the padding token.
        return [self._id_of.get(character, UNK_ID) for character in text] or [UNK_ID]


def _untrained(vocabulary: dict[str, int] | None = None) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, UNK_TOKEN))
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(_ANY_CHARACTER), "isolated")
    backend.decoder = decoders.Fuse()
    return backend
