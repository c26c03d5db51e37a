"""Tokens, lemmas, parts of speech and named entities from spaCy, an optional package."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sru_data.annotation import plain
from sru_data.annotation.protocol import Annotated
from sru_data.errors import DataError, printable, shortened
from sru_data.reading import HALF_OF_A_PAIR

_NEEDED = ("tagger", "lemmatizer", "ner")
_NOT_NEEDED = ("parser", "senter", "entity_linker", "textcat", "textcat_multilabel")
_TEXTS_AT_ONCE = 64
# The models that `spacy download` knows; others come from PyPI or their authors.
_IN_CATALOGUE = re.compile("[a-z]{2,3}_(?:core|dep|ent|sent)_(?:web|news|wiki|ud)_(?:sm|md|lg|trf)").fullmatch


class SpacyAnnotator:
    """Adds lemmas, parts of speech and named entities with a spaCy model.

    An English model tags the tokens of `sru_data.annotation.plain`: more SQuAD answers begin and end at their
    boundaries than at those of spaCy's tokens, and they are tagged equally well. Other models use their own
    tokenizer; their white-space tokens are dropped. Tags are fine-grained (`NNP`, `VBD`); entities are types
    such as `PERSON`, or an empty string. The parser of the model is not used.

    Args:
        model: The name of an installed model or the path of one.

    Raises:
        DataError: spaCy or the model is not installed, or the model lacks a tagger, lemmatizer or named
            entities.
    """

    def __init__(self, model: str = "en_core_web_sm") -> None:
        self.model = model
        meta = _meta(model)
        self.version = str(meta.get("version"))
        if missing := [name for name in _NEEDED if name not in meta.get("pipeline", ())]:
            raise DataError(
                f"annotation: expected a spaCy model with {', '.join(_NEEDED)}, got {_quoted(model)} without "
                f"{', '.join(missing)}; use one such as en_core_web_sm"
            )

    @cached_property
    def _nlp(self) -> Any:
        # Loaded when the first text is read, because spaCy and its model take seconds and 350 MB.
        try:
            return importlib.import_module("spacy").load(self.model, exclude=_NOT_NEEDED)
        except (OSError, ValueError, ImportError) as error:
            reason = shortened(" ".join(str(error).split()), 150)
            raise DataError(
                f"annotation: expected the spaCy model {_quoted(self.model)}, got one that does not load "
                f"({reason}); install it again with `{_install_line(self.model)}`"
            ) from error

    @property
    def description(self) -> Mapping[str, str]:
        """The name and the version of the model."""
        return {"features": "spacy", "model": self.model, "version": self.version}

    def annotate(self, texts: Iterable[str]) -> Iterator[Annotated]:
        """Yield the tokens of each text, in order; a few texts are read ahead.

        Args:
            texts: Any texts; a blank one has no tokens.

        Raises:
            DataError: The model does not load, or a text exceeds its maximum length, by default a million
                characters.
        """
        cut = self._nlp.pipe(map(self._cut, texts), as_tuples=True, batch_size=_TEXTS_AT_ONCE)
        return (_annotated(document, tokens) for document, tokens in cut)

    def _cut(self, text: str) -> tuple[Any, Annotated]:
        """Return a document for spaCy to tag, and its tokens with their offsets in the text."""
        if len(text) > self._nlp.max_length:
            raise DataError(
                f"annotation: expected texts of at most {self._nlp.max_length:,} characters, the limit of "
                f"the spaCy model {_quoted(self.model)}, got one of {len(text):,}: {_quoted(text)}; cut it "
                "into paragraphs"
            )
        # spaCy does not accept surrogates.
        readable = HALF_OF_A_PAIR.sub("\ufffd", text)
        if self._nlp.lang == "en":
            words, starts, ends, *_ = plain.annotate(readable)
            spaces = [readable[end : end + 1].isspace() for end in ends]
            document = importlib.import_module("spacy.tokens").Doc(self._nlp.vocab, words, spaces)
        else:
            document = self._nlp.make_doc(readable)
            starts = [token.idx for token in document if not token.is_space]
            ends = [token.idx + len(token) for token in document if not token.is_space]
        words = [text[start:end] for start, end in zip(starts, ends, strict=True)]
        return document, Annotated(words, starts, ends)


def spacy_of(description: Mapping[str, str]) -> SpacyAnnotator:
    """Return the annotator of a description, made with the same version of the model.

    Args:
        description: The `description` of a `SpacyAnnotator`.

    Raises:
        DataError: The model is not installed, or is installed in another version.
    """
    annotator = SpacyAnnotator(description["model"])
    if annotator.version != description["version"]:
        raise DataError(
            f"annotation: expected version {description['version']} of the spaCy model "
            f"{_quoted(annotator.model)}, which the data was prepared with, got {annotator.version}; "
            f"run `{_install_line(annotator.model, description['version'])}` or prepare the data again"
        )
    return annotator


def _meta(model: str) -> dict[str, Any]:
    """Return the metadata of an installed model, without importing anything."""
    if _spec("spacy") is None:
        raise DataError(
            "annotation: expected the package spacy, which features='spacy' needs, got none; run "
            '`python -m pip install "sru-data[spacy]"`'
        )
    spec = _spec(model)
    folder = Path(spec.origin).parent if spec and spec.origin else Path(model)
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        return dict(meta)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"annotation: expected the spaCy model {_quoted(model)}, got none of that name; run "
            f"`{_install_line(model)}`"
        ) from error


def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except (ImportError, ValueError):
        return None


def _install_line(model: str, version: str | None = None) -> str:
    if _IN_CATALOGUE(model):
        return f"python -m spacy download {model}" + (f"-{version} --direct" if version else "")
    return f"python -m pip install {model.replace('_', '-')}" + (f"=={version}" if version else "")


def _quoted(text: str) -> str:
    return repr(printable(shortened(text, 60)))


def _annotated(document: Any, tokens: Annotated) -> Annotated:
    tagged = [token for token in document if not token.is_space]
    return tokens._replace(
        lemmas=[token.lemma_ for token in tagged],
        tags=[token.tag_ for token in tagged],
        entities=[token.ent_type_ for token in tagged],
    )
