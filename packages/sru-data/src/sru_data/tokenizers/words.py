"""Words: text between white space, or English text with its punctuation split off."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Literal, get_args

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from sru_data.tokenizers import english
from sru_data.tokenizers.huggingface import (
    PAD_TOKEN,
    UNK_TOKEN,
    HuggingFaceTokenizer,
    alike,
    most_frequent,
    without_surrogates,
)
from sru_data.tokenizers.protocol import UNK_ID

LINE_END = "<eos>"
Rules = Literal["spaces", "english"]
"""How text is split into words: at white space alone, or by the rules of `sru_data.tokenizers.english`."""
_LINE_END_WORD = f" {LINE_END} "
_PARTS = ("normalizer", "pre_tokenizer", "decoder", "added_tokens")
_NO_WORDPIECE = "\0"
# Python counts four more characters as white space than Unicode and the library do, and it lower-cases a
# sigma at the end of a word differently.
_OTHER_FOR_PYTHON = re.compile("[\x1c-\x1f]")
_OTHER_LOWERCASE = re.compile("[\x1c-\x1f\u03a3]")


class WordTokenizer(HuggingFaceTokenizer):
    """One token per word; `decode` joins words with single spaces.

    If trained with `line_ends=True`, each line feed is a token `<eos>`, which `decode` turns back into a line
    feed, without spaces around it.

    If trained with `rules="english"`, text is first split as in the Penn Treebank: `It's terrible!` becomes
    the words `it 's terrible !`. Text that is already tokenized is left as is. The rules, described in
    `sru_data.tokenizers.english`, are saved with the vocabulary.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        super().__init__(backend)
        self._is_lowercase = _is_lowercase(backend)
        self._is_english = _is_english(backend)
        self._has_line_ends = not self._is_english and self.fits(backend)

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
        rules: Rules = "spaces",
        extra: Iterable[str] = (),
    ) -> WordTokenizer:
        """Collect a vocabulary, the most frequent words first.

        Args:
            texts: The text to count words in. With `line_ends`, it includes the line feeds.
            min_count: Words that occur less often are unknown.
            max_size: Maximum size of the vocabulary, including padding and unknown but not `extra`.
            lowercase: Whether to lower-case text, here and in `encode`.
            line_ends: Whether a line feed is a token; only with the rules "spaces".
            unk_token: The word for unknown words. If a text contains it, as the Penn Treebank and WikiText
                do, it is read as an unknown word.
            rules: How text is split into words: "spaces" or "english".
            extra: Further words, as for `extended`.

        Raises:
            ValueError: `rules` is unknown or excludes `line_ends`, `min_count` or `max_size` is too small, or
                no word is left.
        """
        if rules not in get_args(Rules):
            raise ValueError(f"WordTokenizer: rules must be 'spaces' or 'english', got {rules!r}")
        if rules == "english" and line_ends:
            raise ValueError("WordTokenizer: line_ends=True needs the rules 'spaces', got 'english'")
        if rules == "english":
            backend = _untrained_english(unk_token, lowercase=lowercase)
        else:
            backend = _untrained(unk_token, lowercase=lowercase, line_ends=line_ends)

        def cut(text: str) -> list[str]:
            return _words(text, backend, lowercase, line_ends, is_english=rules == "english")

        special = (PAD_TOKEN, unk_token)
        vocabulary = most_frequent(
            Counter(chain.from_iterable(map(cut, texts))),
            special=special,
            min_count=min_count,
            max_size=max_size,
            always=(LINE_END,) if line_ends else (),
        )
        backend.model = models.WordLevel(vocabulary, unk_token)
        if rules == "spaces" and not line_ends:
            backend.add_special_tokens(list(special))
        return cls(backend).extended(extra)

    @classmethod
    def from_words(
        cls, words: Iterable[str], *, lowercase: bool = True, unk_token: str = UNK_TOKEN
    ) -> WordTokenizer:
        """Create a tokenizer from given words; it splits text only at white space.

        Args:
            words: The words in the order of their ids, after padding and unknown; as for `extended`.
            lowercase: Whether to lower-case words, here and in `encode`.
            unk_token: The word for unknown words.
        """
        # Saved without line ends, the tokenizer could be from any source, and would be loaded as such.
        backend = _untrained(unk_token, lowercase=lowercase, line_ends=True)
        backend.model = models.WordLevel({PAD_TOKEN: 0, unk_token: 1}, unk_token)
        return cls(backend).extended(words)

    @classmethod
    def fits(cls, backend: tokenizers.Tokenizer) -> bool:
        """Whether `WordTokenizer.train` could have made this backend, with line ends or for English."""
        if _is_english(backend):
            return True
        own = _untrained("", lowercase=_is_lowercase(backend), line_ends=True)
        return isinstance(backend.model, models.WordLevel) and alike(backend, own, *_PARTS)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, at least one and none of them `pad_id`.

        Args:
            text: Any text; one without tokens is encoded as `[unk_id]`.
        """
        if not (self._has_line_ends or self._is_english):
            return super().encode(text)
        # The backend would return the same ids several times more slowly, because it keeps an offset per
        # word.
        id_of = self._id_of
        return [id_of.get(word, UNK_ID) or UNK_ID for word in self.pieces(text)] or [UNK_ID]

    def ids_of(self, words: Sequence[str]) -> list[int]:
        """Return one id for each word of a text that is already tokenized, none of them `pad_id`.

        Args:
            words: The words, in upper or lower case if text is lower-cased. Nothing else is rewritten.
        """
        id_of = self._id_of
        return [id_of.get(word, UNK_ID) or UNK_ID for word in map(self._looked_up, words)]

    def _looked_up(self, word: str) -> str:
        if not self._is_lowercase:
            return word
        if _OTHER_LOWERCASE.search(word):
            return str(normalizers.Lowercase().normalize_str(without_surrogates(word)))
        return word.lower()

    def extended(self, words: Iterable[str]) -> WordTokenizer:
        """Return a tokenizer with more words, such as those with pretrained vectors, after its own.

        Args:
            words: The words, in the order of their ids. They are normalized like text, `The` to `the` if text
                is lower-cased; words that are already known or would be split into several are left out.
        """
        vocabulary = self._saved.get_vocab(with_added_tokens=False)
        size = len(vocabulary)
        for word in words:
            if len(pieces := self.pieces(word)) == 1:
                vocabulary.setdefault(pieces[0], len(vocabulary))
        if len(vocabulary) == size:
            return self
        backend = tokenizers.Tokenizer.from_str(self._saved.to_str())
        backend.model = models.WordLevel(vocabulary, backend.model.unk_token)
        return type(self)(backend)

    def pieces(self, text: str) -> list[str]:
        """Return the words of a text, known or not, as they are looked up.

        Args:
            text: Any text.
        """
        return _words(
            text, self._backend, self._is_lowercase, self._has_line_ends, is_english=self._is_english
        )


def _is_lowercase(backend: tokenizers.Tokenizer) -> bool:
    """Whether a backend that `WordTokenizer` made lower-cases text."""
    if isinstance(backend.pre_tokenizer, pre_tokenizers.Split):
        return alike(backend, _untrained_english("", lowercase=True), "normalizer")
    return isinstance(backend.normalizer, (normalizers.Sequence, normalizers.Lowercase))


def _is_english(backend: tokenizers.Tokenizer) -> bool:
    """Whether a backend splits English text like one from `WordTokenizer.train`."""
    # The backends are compared only if this one may be English.
    return (
        isinstance(backend.model, models.WordLevel)
        and isinstance(backend.pre_tokenizer, pre_tokenizers.Split)
        and alike(backend, _untrained_english("", lowercase=_is_lowercase(backend)), *_PARTS)
    )


def _untrained_english(unk_token: str, *, lowercase: bool) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordLevel(unk_token=unk_token))
    backend.normalizer = english.normalizer(lowercase=lowercase)
    backend.pre_tokenizer = english.pre_tokenizer()
    return backend


def _untrained(unk_token: str, *, lowercase: bool, line_ends: bool) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordLevel(unk_token=unk_token))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    lower = [normalizers.Lowercase()] if lowercase else []
    lines = [normalizers.Replace("\n", _LINE_END_WORD)] if line_ends else []
    steps = [*lower, *lines]
    if steps:
        backend.normalizer = steps[0] if len(steps) == 1 else normalizers.Sequence(steps)
    if line_ends:
        # The first decoder puts a space between the words, since none begins with a NUL.
        backend.decoder = decoders.Sequence(
            [
                decoders.WordPiece(prefix=_NO_WORDPIECE, cleanup=False),
                decoders.Fuse(),
                decoders.Replace(tokenizers.Regex(f" ?(?<![^ ]){LINE_END}(?![^ ]) ?"), "\n"),
            ]
        )
    return backend


def _words(
    text: str, backend: tokenizers.Tokenizer, lowercase: bool, line_ends: bool, *, is_english: bool
) -> list[str]:
    """Split a text into words as the backend would."""
    if is_english:
        pieces = english.pieces(text, lowercase=lowercase)
        if pieces is not None:
            return pieces
        text = without_surrogates(text)
    if is_english or (_OTHER_LOWERCASE if lowercase else _OTHER_FOR_PYTHON).search(text):
        normalized = backend.normalizer.normalize_str(text) if backend.normalizer else text
        return [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normalized)]
    cased = text.lower() if lowercase else text
    return (cased.replace("\n", _LINE_END_WORD) if line_ends else cased).split()
