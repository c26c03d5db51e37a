"""Reads a tokenizer of any kind from its file."""

from __future__ import annotations

from pathlib import Path

import tokenizers

from sru_data.errors import DataError, read_bytes
from sru_data.tokenizers.bytes import ByteTokenizer
from sru_data.tokenizers.characters import CharTokenizer
from sru_data.tokenizers.huggingface import HuggingFaceTokenizer
from sru_data.tokenizers.protocol import Tokenizer
from sru_data.tokenizers.subwords import SubwordTokenizer
from sru_data.tokenizers.words import WordTokenizer

_KINDS = (CharTokenizer, ByteTokenizer, WordTokenizer)


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read a file that a tokenizer's `save` wrote, or any Hugging Face `tokenizer.json`.

    Args:
        path: The file; its content, not its name, tells its kind.

    Raises:
        DataError: The file is missing or holds no tokenizer.
    """
    content = read_bytes(path, expected="a tokenizer file")
    is_json = content.lstrip().startswith(b"{")
    try:
        if not is_json:
            return SubwordTokenizer(content)
        backend = tokenizers.Tokenizer.from_str(content.decode("utf-8"))
    # The library raises bare Exception for JSON that is not a tokenizer.
    except Exception as error:
        kinds = (
            "tokenizer.json, got other JSON"
            if is_json
            else "tokenizer.json or a sentencepiece model, got neither"
        )
        raise DataError.at(path, None, f"expected a Hugging Face {kinds}: {error}") from error
    kind = next((kind for kind in _KINDS if kind.fits(backend)), HuggingFaceTokenizer)
    return kind(backend)
