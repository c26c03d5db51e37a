"""Text outside a vocabulary: it is read as the unknown symbol, counted and reported."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from sru_data.tokenizers import ByteTokenizer, CharTokenizer, SubwordTokenizer, Tokenizer, WordTokenizer

_NAMED, _SHOWN = 10, 40
_UNITS = {CharTokenizer: "characters", SubwordTokenizer: "subwords", ByteTokenizer: "bytes"}


class UnknownParts:
    """Counts words or characters that are not in a vocabulary, and warns about the first ten, each once.

    The unknown symbol written out in a text, as in the Penn Treebank, does not count as unknown.

    Args:
        tokenizer: The tokenizer with the vocabulary.

    Attributes:
        tokens: The symbols of the texts so far.
        unknown: How many of them are unknown.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokenizer.tokens
        self._written = self._tokens[tokenizer.unk_id]
        self._by_characters = isinstance(tokenizer, (CharTokenizer, SubwordTokenizer))
        self._unit = next((unit for kind, unit in _UNITS.items() if isinstance(tokenizer, kind)), "words")
        self._kind = "characters" if self._by_characters else "words"
        self._seen: set[str] = set()
        self._named: list[str] = []
        self.tokens = self.unknown = 0

    def report(self, texts: Iterable[tuple[str, Sequence[int]]]) -> None:
        """Count unknown parts, and warn about those not reported before.

        Args:
            texts: Texts, each with its symbols.
        """
        if new := self.count(texts):
            more = "" if len(self._named) < _NAMED else ", ..."
            warnings.warn(
                f"{self._kind} that are not in the model's vocabulary are read as the unknown symbol: "
                f"{', '.join(map(_shown, new))}{more}",
                stacklevel=2,
            )

    def count(self, texts: Iterable[tuple[str, Sequence[int]]]) -> list[str]:
        """Count unknown parts, and return those not reported before.

        Args:
            texts: Texts, each with its symbols.
        """
        return [part for text, ids in texts for part in self._count(text, ids)]

    def summary(self) -> str:
        """Format the share of unknown symbols: `12 of 345 words (3.5 %) are unknown: 'a', 'b', ...`."""
        if not self.unknown:
            return f"all {self.tokens:,} {self._unit} are known"
        percent = 100 * self.unknown / self.tokens
        share = f"{self.unknown:,} of {self.tokens:,} {self._unit} ({percent:.1f} %)"
        more = ", ..." if len(self._named) == _NAMED else ""
        names = f": {', '.join(map(_shown, self._named))}{more}" if self._named else ""
        return f"{share} are unknown{names}"

    def all_unknown(self, ids: Sequence[int]) -> bool:
        """Whether a text has unknown words and no known ones; marks such as `!` are not words.

        Args:
            ids: The symbols of the text; an empty text has one, the unknown symbol.
        """
        unknown = self._tokenizer.unk_id
        known = (self._tokens[index] for index in ids if index != unknown)
        return unknown in ids and not any(map(_is_word, known))

    def _count(self, text: str, ids: Sequence[int]) -> list[str]:
        """Count the symbols of a text, and return the unknown parts not reported before."""
        unknown = self._tokenizer.unk_id
        self.tokens += len(ids)
        if unknown not in ids:
            return []
        if not text.strip() and list(ids) == [unknown] and not self._by_characters:
            # An empty text has one symbol, so that no sentence is empty.
            self.tokens -= 1
            return []
        self.unknown += list(ids).count(unknown) - self._times_written(text)
        new = list(islice(self._found(text), _NAMED - len(self._named)))
        self._named += new
        return new

    def _times_written(self, text: str) -> int:
        return (
            0 if self._by_characters or self._written not in text else self._words(text).count(self._written)
        )

    def _words(self, text: str) -> list[str]:
        return self._tokenizer.pieces(text) if isinstance(self._tokenizer, WordTokenizer) else text.split()

    def _found(self, text: str) -> Iterator[str]:
        """Yield the unknown parts of a text, and remember all parts, because most of them recur."""
        unknown = self._tokenizer.unk_id
        parts = text if self._by_characters else self._words(text)
        # In a text, a word tokenizer may encode a piece differently from the piece alone.
        ids = self._tokenizer.encode(text) if isinstance(self._tokenizer, WordTokenizer) else []
        for place, part in enumerate(parts):
            if part not in self._seen:
                self._seen.add(part)
                is_unknown = (
                    ids[place] == unknown
                    if len(ids) == len(parts)
                    else unknown in encode(self._tokenizer, part)
                )
                if part != self._written and is_unknown:
                    yield part


def _shown(part: str) -> str:
    return repr(part if len(part) <= _SHOWN else f"{part[:_SHOWN]}...")


def _is_word(token: str) -> bool:
    return any(map(str.isalnum, token))


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the symbols of a text, none for an empty one.

    A tokenizer returns the unknown symbol for a text without content, so that no sentence is empty.

    Args:
        tokenizer: The tokenizer.
        text: Any text.
    """
    ids = tokenizer.encode(text)
    content = text if isinstance(tokenizer, CharTokenizer) else text.strip()
    return ids if content or ids != [tokenizer.unk_id] else []
