"""Raw passages and questions, tokenized and converted to ids for a reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sru_data.annotation import Annotator
from sru_data.question_files import Tokens

Pair = tuple[str, str]
"""A passage and a question."""
# Characters of texts that are read together, and the overhead of a pair; both bound memory use.
_AT_ONCE = 1 << 20
_PAIR = 1 << 8
_LONGEST = 1 << 16
_WORDS = {"passage": 4096, "question": 512}
"""The maximum number of words that are read."""


class Text(NamedTuple):
    """A passage or a question, split into words."""

    tokens: Tokens
    """Its words, as ids of surface forms."""
    starts: Sequence[int]
    """Where each begins, in characters of the given text."""
    ends: Sequence[int]
    """Where each ends."""
    note: str | None
    """Why it was not read, or not in full."""


class TextReader:
    """Splits texts into words and converts them to ids.

    Args:
        annotator: The tokenizer.
        tags: The parts of speech by id; empty for a model without.
        entities: The kinds of named entities by id; empty for a model without.
    """

    def __init__(self, annotator: Annotator, tags: Sequence[str], entities: Sequence[str]) -> None:
        self._annotator = annotator
        self._tags = {name: number for number, name in enumerate(tags)}
        self._entities = {name: number for number, name in enumerate(entities)}

    def read(self, pairs: Sequence[Pair]) -> tuple[list[tuple[Text, Text]], list[str]]:
        """Read passages and questions, each text once.

        Args:
            pairs: The texts.

        Returns:
            Passages and questions, and the surface forms of their words by id; the first is padding.
        """
        words, lemmas = {"": 0}, {"": 0}
        passages, questions = (
            dict(self._read(name, dict.fromkeys(texts), words, lemmas))
            for name, texts in zip(_WORDS, zip(*pairs, strict=True), strict=True)
        )
        return [(passages[passage], questions[question]) for passage, question in pairs], list(words)

    def _read(
        self, name: str, texts: Iterable[str], words: dict[str, int], lemmas: dict[str, int]
    ) -> Iterator[tuple[str, Text]]:
        most = _WORDS[name]
        annotated = self._annotator.annotate(text[:_LONGEST] for text in texts)
        for text, found in zip(texts, annotated, strict=True):
            kept = found.first(most)
            tokens = Tokens(
                _numbers(kept.words, words),
                None if kept.lemmas is None else _numbers(kept.lemmas, lemmas),
                _known(kept.tags, self._tags),
                _known(kept.entities, self._entities),
            )
            note = None if kept.words else f"the {name} has no words"
            if kept.words and (len(text) > _LONGEST or len(found.words) > most):
                unread = len(text) - kept.ends[-1]
                note = f"the last {unread:,} characters of the {name} were not read"
            yield text, Text(tokens, kept.starts, kept.ends, note)


def _numbers(words: Iterable[str], known: dict[str, int]) -> Tensor:
    """Convert words to ids, and remember new ones."""
    return torch.tensor([known.setdefault(word, len(known)) for word in words], dtype=torch.int64)


def _known(names: Sequence[str] | None, known: Mapping[str, int]) -> Tensor | None:
    """Look up names, if the model reads any; a name unseen in training is treated as padding."""
    if names is None or not known:
        return None
    return torch.tensor([known.get(name, 0) for name in names], dtype=torch.int64)


def windows(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    """Divide passages and questions into lists that fit in memory.

    Args:
        pairs: The texts.

    Raises:
        ValueError: One is not a pair of texts.
    """
    window: list[Pair] = []
    size, last = 0, None
    for place, pair in enumerate(pairs):
        is_pair = isinstance(pair, (tuple, list)) and len(pair) == 2
        if not is_pair or not all(isinstance(text, str) for text in pair):
            got = repr(pair)[:60]
            raise ValueError(f"predict: pairs[{place}] must be two texts, passage and question, got {got}")
        passage, question = pair
        size += _PAIR + len(question[:_LONGEST]) + (0 if passage == last else len(passage[:_LONGEST]))
        last = passage
        window.append((passage, question))
        if size > _AT_ONCE:
            yield window
            window, size, last = [], 0, None
    if window:
        yield window
