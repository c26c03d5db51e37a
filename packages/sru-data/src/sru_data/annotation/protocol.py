"""The interface of annotators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol


class Annotated(NamedTuple):
    """The tokens of a text; `text[start:end] == word` for each of them."""

    words: list[str]
    """The tokens, none of them empty and none with white space."""
    starts: list[int]
    """The character offset at which each token begins."""
    ends: list[int]
    """The character offset at which each token ends."""
    lemmas: list[str] | None = None
    """The base form of each token, if the annotator provides it."""
    tags: list[str] | None = None
    """The part of speech of each token, fine-grained as in the Penn Treebank, if provided."""
    entities: list[str] | None = None
    """The type of named entity that each token is part of, or an empty string, if provided."""

    def first(self, count: int) -> Annotated:
        """Return the first `count` tokens.

        Args:
            count: The maximum number of tokens.
        """
        columns: list[Any] = [column and column[:count] for column in self]
        return Annotated(*columns)


class Annotator(Protocol):
    """Splits texts into tokens, and may add features."""

    @property
    def description(self) -> Mapping[str, str]:
        """Its features, model and version, from which `annotator_of` rebuilds it."""

    def annotate(self, texts: Iterable[str]) -> Iterator[Annotated]:
        """Yield the tokens of each text, in order, reading the texts lazily."""
