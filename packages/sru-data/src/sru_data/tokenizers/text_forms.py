"""The form of the text that a model is trained on: lower-cased, and tokenized as by Moses' scripts."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sru_data.errors import DataError

_LANGUAGE = re.compile("[a-z]{2,3}")


@dataclass(frozen=True)
class TextForm:
    """Rewrites sentences into the form that a tokenizer is trained on, and back.

        TextForm(moses="en", lowercase=True).apply("The dog's ball, isn't it?")
        # "the dog &apos;s ball , isn &apos;t it ?"

    A sentence that already has the form is unchanged, apart from odd sequences of quotes and periods, so raw
    and tokenized text may be mixed. Case is not restored.

    Raises:
        ValueError: `moses` is not a language code.

    Source: Koehn et al., "Moses: Open Source Toolkit for Statistical Machine Translation" (2007), whose
    `normalize-punctuation`, `tokenizer` and `detokenizer` the package `sacremoses` implements.
    """

    moses: str | None = None
    """The language, such as "en", whose rules normalise punctuation and split it off; None does neither.
    Languages without rules of their own get the general ones."""
    lowercase: bool = False
    """Whether text is lower-cased."""

    def __post_init__(self) -> None:
        if self.moses is not None and not _LANGUAGE.fullmatch(self.moses):
            raise ValueError(
                f"TextForm: moses must be a language code of two or three letters, got {self.moses!r}"
            )

    def apply(self, text: str) -> str:
        """Return a sentence in this form.

        Args:
            text: The sentence, raw or already in this form.

        Raises:
            DataError: sacremoses is needed and not installed.
        """
        if self.lowercase:
            text = text.lower()
        if self.moses is None:
            return text
        rules = _rules(self.moses)
        # Joining first makes tokenized text raw again. Otherwise its escapes would be escaped, and its `'s`
        # split.
        raw = rules.normalizer.normalize(rules.join(text))
        return str(rules.tokenizer.tokenize(raw, return_str=True))

    def undo(self, text: str) -> str:
        """Return a sentence as people write it, with punctuation joined to the words.

        Args:
            text: A sentence in this form.

        Raises:
            DataError: sacremoses is needed and not installed.
        """
        return text if self.moses is None else _rules(self.moses).join(text)


class _Rules:
    def __init__(self, language: str) -> None:
        moses = _sacremoses()
        self.normalizer = moses.MosesPunctNormalizer(language)
        self.tokenizer = moses.MosesTokenizer(language)
        self._detokenizer = moses.MosesDetokenizer(language)

    def join(self, text: str) -> str:
        return str(self._detokenizer.detokenize(text.split()))


AS_IS = TextForm()
"""Text is not rewritten."""


@lru_cache(maxsize=8)
def _rules(language: str) -> _Rules:
    return _Rules(language)


def _sacremoses() -> Any:
    # Imported here, since only some models need it.
    try:
        return importlib.import_module("sacremoses")
    except ImportError as error:
        raise DataError(
            f"TextForm: expected the package sacremoses for Moses' tokenization, got none ({error}); run "
            '`python -m pip install "sru-data[moses]"`'
        ) from error
