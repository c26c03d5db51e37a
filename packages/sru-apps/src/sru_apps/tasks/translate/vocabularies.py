"""A pair of tokenizers, for the source and the target language."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sru_apps.decoding.unknown import encode
from sru_apps.train.export import dump_tokenizer, parse_tokenizer
from sru_data import DataError
from sru_data.reading import parse_json, read_bytes
from sru_data.tokenizers import CharTokenizer, SentenceTokenizer, TextForm, WordTokenizer


class TokenizerPair:
    """The tokenizers of the source and the target, saved as one file.

    Args:
        source: The tokenizer of the source.
        target: The tokenizer of the target; with the same `text` if both languages share a vocabulary.
    """

    def __init__(self, source: SentenceTokenizer, target: SentenceTokenizer) -> None:
        self.source, self.target = source, target
        self.pad_id, self.unk_id = target.pad_id, target.unk_id
        self.bos_id, self.eos_id = target.bos_id, target.eos_id

    @property
    def joint(self) -> bool:
        """Whether both languages share a vocabulary."""
        return self.source.text is self.target.text

    @property
    def unit(self) -> str:
        """The unit of the target's tokens: characters, words or subwords."""
        kinds: dict[type, str] = {CharTokenizer: "characters", WordTokenizer: "words"}
        return next((unit for kind, unit in kinds.items() if isinstance(self.target.text, kind)), "subwords")

    @property
    def tokens(self) -> list[str]:
        """The vocabulary of the target, in the order of its ids."""
        return self.target.tokens

    def __len__(self) -> int:
        """Return the size of the target's vocabulary, including its markers."""
        return len(self.target)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a source text, without markers."""
        return self.source.encode(text)

    def encode_target(self, text: str) -> list[int]:
        """Return the ids of a target text, without markers; none for an empty text."""
        return encode(self.target.text, self.target.form.apply(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the target text of ids in the form of the training data, leaving out padding and markers."""
        return self.target.decode(ids)

    def save(self, path: str | Path) -> None:
        """Write both tokenizers to a JSON file."""
        content = {
            "source": dump_tokenizer(self.source),
            "target": None if self.joint else dump_tokenizer(self.target),
            "forms": {"source": asdict(self.source.form), "target": asdict(self.target.form)},
        }
        Path(path).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> TokenizerPair:
        """Read a file written by `save`.

        Raises:
            DataError: The file is missing or not a pair of tokenizers.
        """
        content = read_bytes(path, expected="a pair of tokenizers")
        try:
            found: Any = parse_json(content)
            source = parse_tokenizer(found["source"])
            target = source if found["target"] is None else parse_tokenizer(found["target"])
            forms = {side: TextForm(**form) for side, form in found["forms"].items()}
            return cls(SentenceTokenizer(source, forms["source"]), SentenceTokenizer(target, forms["target"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError.at(
                path, None, f"expected a pair of tokenizers, got something else ({error})"
            ) from error
