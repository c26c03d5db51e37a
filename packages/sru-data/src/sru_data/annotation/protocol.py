"""The interface of annotators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol


class Annotated(NamedTuple):
    """The tokens of a text; `text[start:end] == word` for each of them."""

    words: list[str]
    """The tokens, none of them empty and none with white space."""
    starts: list[int]
    """Where each begins, in characters of the text."""
    ends: list[int]
    """Where each ends."""
    lemmas: list[str] | None = None
    """The base form of each, if the annotator knows them."""
    tags: list[str] | None = None
    """The part of speech of each, fine-grained as in the Penn Treebank, likewise."""
    entities: list[str] | None = None
    """The kind of named entity that each is part of, or an empty text, likewise."""

    def first(self, count: int) -> Annotated:
        """Return the first tokens.

        Args:
            count: How many, at most.
        """
        columns: list[Any] = [column and column[:count] for column in self]
        return Annotated(*columns)


class Annotator(Protocol):
    """Cuts texts into tokens, and may add features."""

    @property
    def description(self) -> Mapping[str, str]:
        """Its features, model and version, from which `annotator_of` rebuilds it."""

    def annotate(self, texts: Iterable[str]) -> Iterator[Annotated]:
        """Yield the tokens of each text, in order, as the texts come."""
