"""Words: text between white space."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from sru_data.tokenizers.huggingface import (
    PAD_TOKEN,
    UNK_TOKEN,
    HuggingFaceTokenizer,
    alike,
    most_frequent,
)
from sru_data.tokenizers.protocol import UNK_ID

LINE_END = "<eos>"
_LINE_END_WORD = f" {LINE_END} "
_NO_WORDPIECE = "\0"
# Python counts four more characters as white space than Unicode and the library do, and it lower-cases a
# sigma at the end of a word differently.
_OTHER_FOR_PYTHON = re.compile("[\x1c-\x1f]")
_OTHER_LOWERCASE = re.compile("[\x1c-\x1f\u03a3]")


class WordTokenizer(HuggingFaceTokenizer):
    """One token per word; `decode` joins words with single spaces.

    Trained with `line_ends=True`, each line feed is a token too, `<eos>`, and `decode` writes it as a line
    feed again, without spaces around it.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        super().__init__(backend)
        self._has_line_ends = self.fits(backend)
        self._is_lowercase = _is_lowercase(backend)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        min_count: int = 1,
        max_size: int | None = None,
        lowercase: bool = True,
        line_ends: bool = False,
        unk_token: str = UNK_TOKEN,
    ) -> WordTokenizer:
        """Collect a vocabulary, the most frequent words first.

        Args:
            texts: The text to count in. With `line_ends`, it includes the line feeds.
            min_count: Words that occur less often are unknown.
            max_size: The largest size of the vocabulary, padding and unknown included.
            lowercase: Whether to lower-case text, here and in `encode`.
            line_ends: Whether a line feed is a token.
            unk_token: The word that stands for unknown ones. A text that spells it out, as the Penn Treebank
                and WikiText do, means the unknown word.

        Raises:
            ValueError: `min_count` or `max_size` is too small, or no word is left.
        """
        backend = _untrained(unk_token, lowercase=lowercase, line_ends=line_ends)
        special = (PAD_TOKEN, unk_token)
        vocabulary = most_frequent(
            Counter(chain.from_iterable(_words(text, backend, lowercase, line_ends) for text in texts)),
            special=special,
            min_count=min_count,
            max_size=max_size,
            always=(LINE_END,) if line_ends else (),
        )
        backend.model = models.WordLevel(vocabulary, unk_token)
        if not line_ends:
            backend.add_special_tokens(list(special))
        return cls(backend)

    @classmethod
    def fits(cls, backend: tokenizers.Tokenizer) -> bool:
        """Whether a backend is one of words and line ends, as `WordTokenizer.train` makes them."""
        own = _untrained("", lowercase=_is_lowercase(backend), line_ends=True)
        return isinstance(backend.model, models.WordLevel) and alike(
            backend, own, "normalizer", "pre_tokenizer", "decoder", "added_tokens"
        )

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, at least one and none of them `pad_id`.

        Args:
            text: Any text; one without tokens gives `[unk_id]`.
        """
        if not self._has_line_ends:
            return super().encode(text)
        # The backend would give the same ids, but several times slower because it keeps an offset per word.
        id_of = self._id_of
        words = _words(text, self._backend, self._is_lowercase, line_ends=True)
        return [id_of.get(word, UNK_ID) or UNK_ID for word in words] or [UNK_ID]


def _is_lowercase(backend: tokenizers.Tokenizer) -> bool:
    return isinstance(backend.normalizer, normalizers.Sequence)


def _untrained(unk_token: str, *, lowercase: bool, line_ends: bool) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordLevel(unk_token=unk_token))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    lower = [normalizers.Lowercase()] if lowercase else []
    lines = [normalizers.Replace("\n", _LINE_END_WORD)] if line_ends else []
    steps = [*lower, *lines]
    if steps:
        backend.normalizer = steps[0] if len(steps) == 1 else normalizers.Sequence(steps)
    if line_ends:
        # The first of the three puts a space between the words: none begins with a NUL.
        backend.decoder = decoders.Sequence(
            [
                decoders.WordPiece(prefix=_NO_WORDPIECE, cleanup=False),
                decoders.Fuse(),
                decoders.Replace(tokenizers.Regex(f" ?(?<![^ ]){LINE_END}(?![^ ]) ?"), "\n"),
            ]
        )
    return backend


def _words(text: str, backend: tokenizers.Tokenizer, lowercase: bool, line_ends: bool) -> list[str]:
    """Cut a text into words as the backend would."""
    if (_OTHER_LOWERCASE if lowercase else _OTHER_FOR_PYTHON).search(text):
        normalized = backend.normalizer.normalize_str(text) if backend.normalizer else text
        return [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normalized)]
    cased = text.lower() if lowercase else text
    return (cased.replace("\n", _LINE_END_WORD) if line_ends else cased).split()
