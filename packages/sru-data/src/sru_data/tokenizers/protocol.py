"""The interface of tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

PAD_ID = 0
UNK_ID = 1


@runtime_checkable
class Tokenizer(Protocol):
    """Maps text to ids 0 to len(tokenizer) - 1 and back."""

    @property
    def pad_id(self) -> int:
        """The id of padding, always 0."""

    @property
    def unk_id(self) -> int:
        """The id of anything outside the vocabulary, always 1."""

    @property
    def tokens(self) -> list[str]:
        """The vocabulary in the order of its ids."""

    def __len__(self) -> int:
        """Return the size of the vocabulary."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, at least one and none of them `pad_id`."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, leaving out padding."""

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to one file, which `load_tokenizer` reads."""
