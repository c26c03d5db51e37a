"""Reads a tokenizer of any kind from its file."""

from __future__ import annotations

from pathlib import Path

import tokenizers

from sru_data.errors import DataError
from sru_data.tokenizers.bytes import ByteTokenizer, is_byte_backend
from sru_data.tokenizers.characters import CharTokenizer, is_character_backend
from sru_data.tokenizers.huggingface import HuggingFaceTokenizer
from sru_data.tokenizers.protocol import Tokenizer
from sru_data.tokenizers.subwords import SubwordTokenizer
from sru_data.tokenizers.words import WordTokenizer, is_line_backend


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read what a tokenizer's `save` wrote, or any Hugging Face `tokenizer.json`.

    Args:
        path: The file; its content, not its name, tells its kind.

    Raises:
        DataError: The file is missing or holds no tokenizer.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError.at(path, None, f"expected a tokenizer file, got {error.strerror}") from error
    if not content.lstrip().startswith(b"{"):
        try:
            return SubwordTokenizer(content)
        except ValueError as error:
            raise DataError.at(
                path,
                None,
                f"expected a Hugging Face tokenizer.json or a sentencepiece model, got neither: {error}",
            ) from error
    try:
        backend = tokenizers.Tokenizer.from_str(content.decode("utf-8"))
    # The library raises bare Exception for JSON that is not a tokenizer.
    except Exception as error:
        raise DataError.at(
            path, None, f"expected a Hugging Face tokenizer.json, got other JSON: {error}"
        ) from error
    if is_character_backend(backend):
        return CharTokenizer(backend)
    if is_byte_backend(backend):
        return ByteTokenizer(backend)
    return WordTokenizer(backend) if is_line_backend(backend) else HuggingFaceTokenizer(backend)
