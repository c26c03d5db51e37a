"""Tokenizers with additional ids for markers, such as those at both ends of a sentence to translate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sru_data.tokenizers.characters import CharTokenizer
from sru_data.tokenizers.protocol import Tokenizer
from sru_data.tokenizers.text_forms import AS_IS, TextForm
from sru_data.tokenizers.words import WordTokenizer

MARKERS = ("<s>", "</s>")
"""The beginning and the end of a sentence."""


class MarkedTokenizer:
    """A tokenizer with additional ids, which no text is encoded as; the ids of the text come first.

    Args:
        text: The tokenizer of the text.
        markers: The names of the additional ids.
    """

    def __init__(self, text: Tokenizer, markers: Sequence[str]) -> None:
        self.text, self._markers = text, tuple(markers)
        self.pad_id, self.unk_id = text.pad_id, text.unk_id

    @property
    def tokens(self) -> list[str]:
        """The vocabulary in the order of its ids."""
        return [*self.text.tokens, *self._markers]

    def __len__(self) -> int:
        """Return the size of the vocabulary, with the markers."""
        return len(self.text) + len(self._markers)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, at least one, without padding and markers.

        Args:
            text: The text; one without tokens is encoded as `[unk_id]`.
        """
        return self.text.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, leaving out padding and markers.

        Args:
            ids: Ids of this tokenizer.
        """
        return self.text.decode([index for index in ids if index < len(self.text)])

    def save(self, path: str | Path) -> None:
        """Write the tokenizer of the text, which `load_tokenizer` reads; the markers are always the same.

        Args:
            path: The file to write.
        """
        self.text.save(path)


class SentenceTokenizer(MarkedTokenizer):
    """A tokenizer with two additional ids, for the beginning and the end of a sentence.

    The last two ids are `bos_id` and `eos_id`. `encode` adds neither.

    Args:
        text: The tokenizer of the text.
        form: The form of the text that it was trained on. `encode` rewrites sentences into it; `decode`
            returns text in this form, which `form.undo` makes readable. `save` does not store the form.
    """

    def __init__(self, text: Tokenizer, form: TextForm = AS_IS) -> None:
        super().__init__(text, MARKERS)
        self.form = form
        self.bos_id, self.eos_id = range(len(text), len(self))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a sentence, at least one, without padding and markers.

        Args:
            text: The sentence; one without tokens is encoded as `[unk_id]`.
        """
        return self.text.encode(self.form.apply(text))

    def pieces(self, text: str) -> list[str]:
        """Return the spelling of each id of a sentence, so that unknown words can be copied.

        Words and characters are spelled as in the sentence, in the tokenizer's form, whether or not they are
        known. Subwords are spelled as in the vocabulary.

        Args:
            text: The sentence; one without tokens has one empty spelling.
        """
        text = self.form.apply(text)
        if isinstance(self.text, WordTokenizer):
            return self.text.pieces(text) or [""]
        if isinstance(self.text, CharTokenizer):
            return list(text) or [""]
        tokens = self.text.tokens
        return [tokens[index] for index in self.text.encode(text)]
