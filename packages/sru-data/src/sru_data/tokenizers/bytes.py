"""Bytes: any text, and bytes that are not text, without a vocabulary to learn."""

from __future__ import annotations

from collections.abc import Sequence

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers
from torch import Tensor

from sru_data.texts.source import Block
from sru_data.tokenizers.huggingface import PAD_TOKEN, UNK_TOKEN, HuggingFaceTokenizer, alike, description
from sru_data.tokenizers.protocol import PAD_ID, UNK_ID, Tokenizer


class ByteTokenizer(HuggingFaceTokenizer):
    """One token per byte of UTF-8; byte b has the id b + 2.

    `decode` is the exact inverse; bytes that are not UTF-8 become U+FFFD.

    Args:
        backend: A byte-level tokenizer without merges, whose bytes may have other ids; by default the one
            with the ids above.
    """

    def __init__(self, backend: tokenizers.Tokenizer | None = None) -> None:
        super().__init__(_untrained() if backend is None else backend)
        ids = [self._id_of[character] for character in _byte_characters()]
        self._id_of_byte = torch.tensor(ids)
        byte_of = {index: bytes([byte]) for byte, index in enumerate(ids)}
        self._bytes_of = [byte_of.get(i, token.encode()) for i, token in enumerate(self._tokens)]

    @classmethod
    def fits(cls, backend: tokenizers.Tokenizer) -> bool:
        """Whether a backend looks up each byte unchanged, like that of `ByteTokenizer()`."""
        if not alike(backend, _untrained(), "normalizer", "pre_tokenizer", "added_tokens"):
            return False
        model = description(backend)["model"]
        return (
            model["type"] == "BPE"
            and not model["merges"]
            and not model["ignore_merges"]
            and set(_byte_characters()) <= model["vocab"].keys()
        )

    def encode(self, text: str) -> list[int]:
        """Return the id of each byte.

        Args:
            text: Any text; an empty one is encoded as `[unk_id]`.
        """
        # Bytes of the command line that are not text arrive as surrogates, and are converted back here.
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


def encode_block(tokenizer: Tokenizer, block: bytes) -> Tensor:
    """Return the ids of a block of text.

    Args:
        tokenizer: Any tokenizer; a `ByteTokenizer` encodes the block unchanged, the others decode it as
            UTF-8.
        block: A block of `TextSource.blocks`, or any other bytes.

    Returns:
        (tokens,) int64; empty for an empty block.

    Raises:
        DataError: The block is not UTF-8; the message names the file and the byte.
    """
    if isinstance(tokenizer, ByteTokenizer):
        return tokenizer.encode_bytes(block)
    text = (block if isinstance(block, Block) else Block(block)).decode()
    return torch.tensor(tokenizer.encode(text) if text else [], dtype=torch.int64)


def _untrained() -> tokenizers.Tokenizer:
    tokens = [PAD_TOKEN, UNK_TOKEN, *_byte_characters()]
    backend = tokenizers.Tokenizer(
        models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def _byte_characters() -> list[str]:
    """Return the printable character that stands for each byte in byte-level vocabularies.

    Printable characters of Latin-1 stand for themselves, and U+0100 and up for the other bytes, in order.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    others = iter(character for character in alphabet if ord(character) > 0xFF)
    return [chr(byte) if chr(byte) in alphabet else next(others) for byte in range(0x100)]
