"""Back-off n-gram models in the ARPA format."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from sru_data import DataError
from sru_data.tables.lines import text_lines

Context = tuple[int, ...]
"""The numbers of the preceding words, as many as the model looks back."""

_ZERO = -99.0
"""How the format writes log10 0."""
_START, _END, _UNKNOWN = "<s>", "</s>", ("<unk>", "<UNK>")
_COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
_SECTION = re.compile(r"\\(\d+)-grams:")


class NGramModel:
    """A back-off n-gram model.

        log10 p(w | h) = log10 p(h·w)             where the model lists the n-gram h·w
                         b(h) + log10 p(w | h′)   elsewhere; h′ is h without its first word

    The back-off weight b(h) is 0 if the model lists none. A word outside the vocabulary is read as `<unk>`
    or `<UNK>`; if the model has neither, its log10 p is -99.

    Args:
        words: The vocabulary, each word with its number.
        ngrams: log10 p and log10 b of each n-gram.
        order: The number of words in the longest n-gram.

    Source: Katz, "Estimation of Probabilities from Sparse Data for the Language Model Component of a Speech
    Recognizer" (1987); the format, Stolcke, "SRILM - An Extensible Language Modeling Toolkit" (2002).
    """

    def __init__(self, words: dict[str, int], ngrams: dict[Context, tuple[float, float]], order: int) -> None:
        self._words, self._ngrams, self.order = words, ngrams, order
        self._sorted = sorted(words)
        self._unknown = next((words[word] for word in _UNKNOWN if word in words), -1)

    @classmethod
    def read(cls, path: str | Path) -> NGramModel:
        r"""Read a file, plain or compressed.

        Args:
            path: A file in the ARPA format, in UTF-8. Text before `\data\` is ignored.

        Raises:
            DataError: The file is missing, damaged or not in this format.
        """
        path = Path(path)
        lines = _lines(path)
        if not any(line == "\\data\\" for _, line in lines):
            raise DataError.at(path, None, "expected an n-gram model in ARPA format, got no line \\data\\")
        counts: dict[int, int] = {}
        words: dict[str, int] = {}
        ngrams: dict[Context, tuple[float, float]] = {}
        size = found = 0
        for number, line in lines:
            section = _SECTION.fullmatch(line)
            if size == 0 and section is None:
                if (count := _COUNT.fullmatch(line)) is None:
                    raise DataError.at(path, number, f"expected ngram ORDER=COUNT, got {line!r}")
                counts[int(count[1])] = int(count[2])
            elif section is not None or line == "\\end\\":
                if size and counts[size] != found:
                    raise DataError.at(
                        path,
                        number,
                        f"expected {counts[size]:,} {size}-grams before this line, got {found:,}",
                    )
                size, found = size + 1, 0
                expected = f"\\{size}-grams:" if size in counts else "\\end\\"
                if line != expected:
                    raise DataError.at(path, number, f"expected {expected}, got {line}")
                if section is None:
                    return cls(words, ngrams, size - 1)
            else:
                ngram, value = _entry(line, size, words, path, number)
                ngrams[ngram] = value
                found += 1
        raise DataError.at(path, None, "expected \\end\\ at its end, got none; the file is truncated")

    def start(self) -> Context:
        """Return the context of the first word."""
        return (self._words[_START],) if self.order > 1 and _START in self._words else ()

    def score(self, context: Context, word: str) -> tuple[float, Context]:
        """Score the next word.

        Args:
            context: The words before it.
            word: The word.

        Returns:
            The natural logarithm of its probability, and the context of the next word.
        """
        number = self._words.get(word, self._unknown)
        after = (*context, number)
        return self._log10(context, number) * math.log(10), after[len(after) - self.order + 1 :]

    def knows(self, word: str) -> bool:
        """Whether a word is in the vocabulary."""
        return word in self._words

    def begins(self, letters: str) -> bool:
        """Whether any word of the vocabulary begins with these letters."""
        place = bisect_left(self._sorted, letters)
        return place < len(self._sorted) and self._sorted[place].startswith(letters)

    def end(self, context: Context) -> float:
        """Return the natural logarithm of the probability that the sentence ends here."""
        return self.score(context, _END)[0]

    def _log10(self, context: Context, word: int) -> float:
        weight = 0.0
        for first in range(len(context)):
            before = context[first:]
            if (found := self._ngrams.get((*before, word))) is not None:
                return weight + found[0]
            weight += self._ngrams.get(before, (0.0, 0.0))[1]
        return weight + self._ngrams.get((word,), (_ZERO, 0.0))[0]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the non-empty lines, with their numbers."""
    for number, line in enumerate(text_lines(path, "utf-8"), 1):
        if line := line.strip(" \t\r\n"):
            yield number, line


def _entry(
    line: str, size: int, words: dict[str, int], path: Path, number: int
) -> tuple[Context, tuple[float, float]]:
    """Read an n-gram with its probability and its back-off weight; a 1-gram adds its word."""
    # Not `split()`: a word may contain a non-breaking space.
    first, *rest = filter(None, line.replace("\t", " ").split(" "))
    spelled, weights = rest[:size], rest[size:]
    if len(spelled) < size or len(weights) > 1:
        raise DataError.at(
            path, number, f"expected log10 p, {size} words and optionally a back-off weight, got {line!r}"
        )
    values = []
    for text in (first, *weights):
        try:
            values.append(float(text))
        except ValueError:
            values.append(math.nan)
        if not values[-1] < math.inf:
            raise DataError.at(path, number, f"expected the logarithm of a number, got {text!r}")
    if size == 1:
        words.setdefault(spelled[0], len(words))
    for word in spelled:
        if word not in words:
            raise DataError.at(path, number, f"expected only words listed in the 1-grams, got {word!r}")
    return tuple(words[word] for word in spelled), (values[0], values[1] if weights else 0.0)
