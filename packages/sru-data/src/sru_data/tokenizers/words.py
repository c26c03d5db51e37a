"""Words: what white space separates."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from sru_data.tokenizers.counting import most_frequent
from sru_data.tokenizers.huggingface import (
    PAD_TOKEN,
    UNK_TOKEN,
    HuggingFaceTokenizer,
    train_word_level,
    untrained_word_level,
)
from sru_data.tokenizers.protocol import UNK_ID

LINE_END = "<eos>"
_LINE_END_WORD = f" {LINE_END} "
_NO_WORDPIECE = "\0"
# Python counts four more characters as white space than Unicode and the library do, and it writes a sigma at
# the end of a word in another way.
_OTHER_FOR_PYTHON = re.compile("[\x1c-\x1f]")
_OTHER_LOWERCASE = re.compile("[\x1c-\x1f\u03a3]")


class WordTokenizer(HuggingFaceTokenizer):
    """One token per word; `decode` joins words with single spaces.

    Trained with `line_ends=True`, each line feed is a token too, `<eos>`, and `decode` writes it as a line
    feed again, without spaces around it.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        super().__init__(backend)
        self._id_of = {token: index for index, token in enumerate(self._tokens)}
        self._has_line_ends = is_line_backend(backend)
        self._is_lowercase = self._has_line_ends and _is_lowercase(backend)

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
            texts: The text to count in. With `line_ends`, texts hold their line feeds.
            min_count: Words that come less often are unknown.
            max_size: The largest size of the vocabulary, padding and unknown included.
            lowercase: Whether to lower-case text, here and in `encode`.
            line_ends: Whether a line feed is a token.
            unk_token: The word that stands for unknown ones. A text that spells it out, as those of the Penn
                Treebank and of WikiText do, means the unknown word.

        Raises:
            ValueError: `min_count` or `max_size` is too small, or no word is left.
        """
        if not line_ends:
            backend = untrained_word_level(unk_token)
            if lowercase:
                backend.normalizer = normalizers.Lowercase()
            backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
            train_word_level(backend, texts, min_count=min_count, max_size=max_size, unk_token=unk_token)
            return cls(backend)
        counts: Counter[str] = Counter()
        backend = _untrained(lowercase, {}, unk_token)
        for text in texts:
            counts.update(_words(text, backend, lowercase))
        vocabulary = most_frequent(
            counts,
            special=(PAD_TOKEN, unk_token),
            min_count=min_count,
            max_size=max_size,
            always=(LINE_END,),
        )
        return cls(_untrained(lowercase, vocabulary, unk_token))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, at least one and none of them `pad_id`.

        Args:
            text: Any text; one that yields no token gives `[unk_id]`.
        """
        if not self._has_line_ends:
            return super().encode(text)
        # The backend would give the same ids, but some times slower, as it keeps an offset per word.
        id_of = self._id_of
        ids = [id_of.get(word, UNK_ID) or UNK_ID for word in _words(text, self._backend, self._is_lowercase)]
        return ids or [UNK_ID]


def is_line_backend(backend: tokenizers.Tokenizer) -> bool:
    """Whether a backend is one of words and line ends, as `WordTokenizer.train` makes them."""
    given = json.loads(backend.to_str())
    if given["model"]["type"] != "WordLevel" or given["added_tokens"]:
        return False
    own = json.loads(_untrained(_is_lowercase(backend), {}, "").to_str())
    return all(given[part] == own[part] for part in ("normalizer", "pre_tokenizer", "decoder"))


def _is_lowercase(backend: tokenizers.Tokenizer) -> bool:
    return isinstance(backend.normalizer, normalizers.Sequence)


def _untrained(lowercase: bool, vocabulary: dict[str, int], unk_token: str) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token))
    lines = normalizers.Replace("\n", _LINE_END_WORD)
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), lines]) if lowercase else lines
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # The first of the three puts a space between the words: none begins with a NUL.
    backend.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix=_NO_WORDPIECE, cleanup=False),
            decoders.Fuse(),
            decoders.Replace(tokenizers.Regex(f" ?(?<![^ ]){LINE_END}(?![^ ]) ?"), "\n"),
        ]
    )
    return backend


def _words(text: str, backend: tokenizers.Tokenizer, lowercase: bool) -> list[str]:
    """Cut a text into words as the backend would."""
    if (_OTHER_LOWERCASE if lowercase else _OTHER_FOR_PYTHON).search(text):
        normalized = backend.normalizer.normalize_str(text)
        return [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normalized)]
    return (text.lower() if lowercase else text).replace("\n", _LINE_END_WORD).split()
