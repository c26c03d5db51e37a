"""Bytes: every text, and whatever is none, without a vocabulary to learn."""

from __future__ import annotations

import json
from collections.abc import Sequence

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers
from torch import Tensor

from sru_data.tokenizers.huggingface import PAD_TOKEN, UNK_TOKEN, HuggingFaceTokenizer
from sru_data.tokenizers.protocol import PAD_ID, UNK_ID

_FIRST_ID = 2
_PARTS_BEFORE_LOOK_UP = ("normalizer", "pre_tokenizer")


class ByteTokenizer(HuggingFaceTokenizer):
    """One token per byte of UTF-8; byte b has the id b + 2.

    `decode` is the exact inverse; bytes that are not UTF-8 become U+FFFD.

    Args:
        backend: A byte-level tokenizer without merges, whose bytes may have other ids; by default the one
            with the ids above.
    """

    def __init__(self, backend: tokenizers.Tokenizer | None = None) -> None:
        super().__init__(_untrained() if backend is None else backend)
        id_of = {token: index for index, token in enumerate(self._tokens)}
        ids = [id_of[character] for character in _byte_characters()]
        self._id_of_byte = torch.tensor(ids)
        self._bytes_of = [token.encode("utf-8") for token in self._tokens]
        for byte, index in enumerate(ids):
            self._bytes_of[index] = bytes([byte])

    def encode(self, text: str) -> list[int]:
        """Return the id of each byte.

        Args:
            text: Any text; an empty one gives `[unk_id]`.
        """
        # What the command line could not decode comes as surrogates, and goes back to its bytes here.
        ids: list[int] = self.encode_bytes(text.encode("utf-8", "surrogateescape")).tolist()
        return ids or [UNK_ID]

    def encode_bytes(self, content: bytes) -> Tensor:
        """Return the ids of bytes.

        Args:
            content: Any bytes.

        Returns:
            (bytes,) int64.
        """
        if not content:
            return torch.empty(0, dtype=torch.int64)
        return self._id_of_byte[torch.frombuffer(bytearray(content), dtype=torch.uint8).long()]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, leaving out padding.

        Args:
            ids: Ids of this tokenizer.
        """
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of ids, leaving out padding.

        Args:
            ids: Ids of this tokenizer.
        """
        return b"".join([self._bytes_of[index] for index in ids if index != PAD_ID])


def is_byte_backend(backend: tokenizers.Tokenizer) -> bool:
    """Whether a backend looks up each byte as it stands, as that of `ByteTokenizer()` does."""
    own, given = json.loads(_untrained().to_str()), json.loads(backend.to_str())
    model = given["model"]
    return (
        all(given[part] == own[part] for part in _PARTS_BEFORE_LOOK_UP)
        and not given["added_tokens"]
        and model["type"] == "BPE"
        and not model["merges"]
        and not model["ignore_merges"]
        and set(_byte_characters()) <= model["vocab"].keys()
    )


def _untrained() -> tokenizers.Tokenizer:
    characters = {character: index for index, character in enumerate(_byte_characters(), _FIRST_ID)}
    backend = tokenizers.Tokenizer(
        models.BPE(vocab={PAD_TOKEN: PAD_ID, UNK_TOKEN: UNK_ID, **characters}, merges=[])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def _byte_characters() -> list[str]:
    """Return the printable character that stands for each byte in byte-level vocabularies.

    Printable characters of Latin-1 stand for themselves, the other bytes, in their order, for U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in printable]
    code_of = {byte: byte for byte in printable} | {byte: 0x100 + i for i, byte in enumerate(others)}
    return [chr(code_of[byte]) for byte in range(0x100)]
