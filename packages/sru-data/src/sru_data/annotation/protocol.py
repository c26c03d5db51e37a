"""What an annotator says about a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol


class Annotated(NamedTuple):
    """The tokens of a text; `text[start:end] == word` for each of them.

    Args:
        words: The tokens, none of them empty and none with white space.
        starts: Where each begins, in characters of the text.
        ends: Where each ends.
        lemmas: The base form of each, if the annotator knows them.
        tags: The part of speech of each, fine-grained as in the Penn Treebank, likewise.
        entities: The kind of named entity that each is part of, or an empty text, likewise.
    """

    words: list[str]
    starts: list[int]
    ends: list[int]
    lemmas: list[str] | None = None
    tags: list[str] | None = None
    entities: list[str] | None = None


class Annotator(Protocol):
    """Cuts texts into tokens, and may say more about them."""

    @property
    def description(self) -> Mapping[str, str]:
        """What it is, so that `annotator_of` makes it again: its features, model and version."""

    def annotate(self, texts: Iterable[str]) -> Iterator[Annotated]:
        """Yield the tokens of each text, in order, as the texts come."""
