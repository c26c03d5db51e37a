"""Tokenizers of any kind as text, to be stored in a checkpoint or an export."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from sru_data.atomic import atomic_write
from sru_data.tokenizers import Tokenizer, load_tokenizer

_JSON_NAME, _BINARY_NAME = "tokenizer.json", "tokenizer.model"


def dump_tokenizer(tokenizer: Tokenizer) -> str:
    """Return the content of the file that the tokenizer saves itself to: JSON, or base64 where it is binary."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer")
        tokenizer.save(path)
        content = path.read_bytes()
    return content.decode() if _is_json(content) else base64.b64encode(content).decode("ascii")


def parse_tokenizer(content: str) -> Tokenizer:
    """Undo `dump_tokenizer`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer")
        path.write_bytes(_bytes(content))
        return load_tokenizer(path)


def export_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write a tokenizer to a folder, as `tokenizer.json` or `tokenizer.model`."""
    content = _bytes(dump_tokenizer(tokenizer))
    names = [_JSON_NAME, _BINARY_NAME] if _is_json(content) else [_BINARY_NAME, _JSON_NAME]
    with atomic_write(folder / names[0]) as file:
        file.write(content)
    (folder / names[1]).unlink(missing_ok=True)


def read_exported_tokenizer(folder: Path) -> Tokenizer:
    """Read what `export_tokenizer` wrote."""
    binary = folder / _BINARY_NAME
    return load_tokenizer(binary if binary.is_file() else folder / _JSON_NAME)


def _bytes(content: str) -> bytes:
    return content.encode() if _is_json(content.encode()) else base64.b64decode(content)


def _is_json(content: bytes) -> bool:
    return content.lstrip().startswith(b"{")
