"""A pair of tokenizers, for the source and the target language."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sru_apps.train.export import dump_tokenizer, parse_tokenizer
from sru_data import DataError
from sru_data.reading import parse_json, read_bytes
from sru_data.tokenizers import CharTokenizer, SentenceTokenizer, WordTokenizer


class TokenizerPair:
    """The tokenizers of the source and the target, saved as one file.

    Args:
        source: The tokenizer of the source.
        target: The tokenizer of the target; the same object if both languages share a vocabulary.
    """

    def __init__(self, source: SentenceTokenizer, target: SentenceTokenizer) -> None:
        self.source, self.target = source, target
        self.pad_id, self.unk_id = target.pad_id, target.unk_id
        self.bos_id, self.eos_id = target.bos_id, target.eos_id

    @property
    def joint(self) -> bool:
        """Whether both languages share a vocabulary."""
        return self.source is self.target

    @property
    def unit(self) -> str:
        """The unit of the target's tokens: characters, words or subwords."""
        kinds: dict[type, str] = {CharTokenizer: "characters", WordTokenizer: "words"}
        return next((unit for kind, unit in kinds.items() if isinstance(self.target.text, kind)), "subwords")

    @property
    def lowercase(self) -> bool:
        """Whether targets are lower-cased."""
        text = self.target.text
        return isinstance(text, WordTokenizer) and text.pieces("A") == ["a"]

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

    def decode(self, ids: Sequence[int]) -> str:
        """Return the target text of ids, leaving out padding and markers."""
        return self.target.decode(ids)

    def save(self, path: str | Path) -> None:
        """Write both tokenizers to a JSON file."""
        target = None if self.joint else dump_tokenizer(self.target)
        content = json.dumps({"source": dump_tokenizer(self.source), "target": target})
        Path(path).write_text(content, encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> TokenizerPair:
        """Read a file written by `save`.

        Raises:
            DataError: The file is missing or not a pair of tokenizers.
        """
        content = read_bytes(path, expected="a pair of tokenizers")
        try:
            found: Any = parse_json(content)
            source, target = found["source"], found["target"]
            first = SentenceTokenizer(parse_tokenizer(source))
            return cls(first, first if target is None else SentenceTokenizer(parse_tokenizer(target)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError.at(
                path, None, f"expected a pair of tokenizers, got something else ({error})"
            ) from error
