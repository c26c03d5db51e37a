"""Tokenizers of any kind as text, to lie in a checkpoint."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from sru_data.tokenizers import Tokenizer, load_tokenizer


def dump_tokenizer(tokenizer: Tokenizer) -> str:
    """The content of the file that the tokenizer saves itself to: JSON, or base64 where it is binary."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer")
        tokenizer.save(path)
        content = path.read_bytes()
    if content.lstrip().startswith(b"{"):
        return content.decode("utf-8")
    return base64.b64encode(content).decode("ascii")


def parse_tokenizer(content: str) -> Tokenizer:
    """Undo `dump_tokenizer`."""
    is_json = content.lstrip().startswith("{")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer")
        path.write_bytes(content.encode("utf-8") if is_json else base64.b64decode(content))
        return load_tokenizer(path)
