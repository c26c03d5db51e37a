"""The record that every speech reader returns."""

from __future__ import annotations

from typing import Literal, NamedTuple

PartName = Literal["train", "validation", "test"]


class Utterance(NamedTuple):
    """A recording or a piece of one, with its annotations."""

    id: str
    """Its id, unique in its part."""
    path: str
    """Its audio file, or a file of features that come with the data."""
    text: str | None = None
    """The transcript, if known: words, or phones separated by spaces."""
    label: str | None = None
    """The class of the whole clip, in data for classification."""
    speaker: str | None = None
    """The speaker, if known."""
    start: float = 0.0
    """Where it begins in its file, in seconds."""
    end: float | None = None
    """Where it ends; None for the end of the file."""
    position: int | None = None
    """Where its features begin in a Kaldi archive, in bytes; None for any other file."""
    place: str = ""
    """Where it is listed, for messages: `train.tsv:12`."""


Parts = dict[PartName, list[Utterance]]
"""The utterances of "train" and, if there are any, "validation" and "test"."""
