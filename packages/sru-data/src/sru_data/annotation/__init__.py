"""Tokens with their offsets in the text, from fast rules, or from spaCy with lemmas, tags and entities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from sru_data.annotation.plain import PlainAnnotator
from sru_data.annotation.protocol import Annotated, Annotator
from sru_data.annotation.spacy import SpacyAnnotator, spacy_of
from sru_data.errors import DataError, shortened

__all__ = ["Annotated", "Annotator", "Features", "annotator_of", "make_annotator"]

Features = Literal["none", "spacy"]
"""The features that an annotator adds to tokens and their offsets: none, or spaCy's."""


def make_annotator(features: Features, *, model: str = "en_core_web_sm") -> Annotator:
    """Return an annotator; spaCy is imported when its first text is read.

    Args:
        features: "none" for tokens and their offsets only, "spacy" to add lemmas, parts of speech and named
            entities.
        model: The name of an installed spaCy model, used if `features` is "spacy".

    Raises:
        DataError: spaCy or the model is not installed; the message contains the command that installs it.
        ValueError: Unknown features.
    """
    if features not in get_args(Features):
        raise ValueError(f"make_annotator: features must be 'none' or 'spacy', got {features!r}")
    return PlainAnnotator() if features == "none" else SpacyAnnotator(model)


def annotator_of(description: Mapping[str, str]) -> Annotator:
    """Return the annotator that data was prepared with.

    Args:
        description: The `description` of the annotator.

    Raises:
        DataError: The annotator needs a spaCy model that is not installed, or is installed in another
            version, or the description is not that of an annotator.
    """
    if description == {"features": "none"}:
        return PlainAnnotator()
    if description.keys() == {"features", "model", "version"} and description["features"] == "spacy":
        return spacy_of(description)
    raise DataError(
        "annotation: expected the description of an annotator, got "
        f"{shortened(repr(dict(description)), 200)}; prepare the data again"
    )
