"""One rule for what a vocabulary does not hold: it is read as the unknown symbol, and a warning names it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from sru_data.tokenizers import CharTokenizer, SubwordTokenizer, Tokenizer

_NAMED, _SHOWN = 10, 40


class UnknownParts:
    """Warns of words or characters that are not in a vocabulary, each once, and of no more than ten.

    The unknown symbol written out, as in the Penn Treebank, is not one of them.

    Args:
        tokenizer: The tokenizer with the vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._by_characters = isinstance(tokenizer, (CharTokenizer, SubwordTokenizer))
        self._seen: set[str] = set()
        self._left = _NAMED

    def report(self, texts: Iterable[tuple[str, Sequence[int]]]) -> None:
        """Warn of what has not been named before.

        Args:
            texts: Texts, each with its symbols.
        """
        new = list(islice(self._found(texts), self._left))
        self._left -= len(new)
        if new:
            kind = "characters" if self._by_characters else "words"
            shown = [repr(part if len(part) <= _SHOWN else f"{part[:_SHOWN]}...") for part in new]
            warnings.warn(
                f"{kind} that are not in the model's vocabulary are read as the unknown symbol: "
                f"{', '.join(shown)}{'' if self._left else ', ...'}",
                stacklevel=2,
            )

    def _found(self, texts: Iterable[tuple[str, Sequence[int]]]) -> Iterator[str]:
        """Yield the unknown parts of texts, and remember all parts, since most of them come again."""
        unknown, encode = self._tokenizer.unk_id, self._tokenizer.encode
        written = self._tokenizer.tokens[unknown]
        for text, ids in texts:
            if unknown not in ids:
                continue
            for part in text if self._by_characters else text.split():
                if part not in self._seen:
                    self._seen.add(part)
                    if part != written and unknown in encode(part):
                        yield part


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the symbols of a text, none for an empty one.

    A tokenizer gives the unknown symbol for a text without content, so that no sentence is empty.

    Args:
        tokenizer: The tokenizer.
        text: Any text.
    """
    ids = tokenizer.encode(text)
    content = text if isinstance(tokenizer, CharTokenizer) else text.strip()
    return ids if content or ids != [tokenizer.unk_id] else []
