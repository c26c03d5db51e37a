"""The JSON records of a file: one per line, or the items of one array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from sru_data.errors import DataError
from sru_data.reading import MAX_LINE_BYTES, line_blocks
from sru_data.texts.files import TextFile

_TOKEN = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)
_BETWEEN_ITEMS = b" \t\r\n,"
_STEPS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
# From one depth to another; what is between items should be blank, and is a record if it is not.
_ITEM_BEGINS, _ITEM_ENDS = (1, 2), (2, 1)
_BOUNDARIES = {(0, 1), _ITEM_BEGINS, _ITEM_ENDS, (1, 0)}


class Record(NamedTuple):
    """One record, not parsed yet."""

    line: int
    """The line on which it begins, counted from 1."""
    content: bytes
    """Its JSON, if it is any."""


def read_records(path: str | Path) -> Iterator[Record]:
    """Yield the records of a file, which is read as a stream.

    A file whose first character is `[` is an array, and its items are the records; of any other, every line
    that is not blank is one.

    Args:
        path: JSON lines or a JSON array; the ending of its name tells the compression, as for `TextFile`.

    Raises:
        DataError: The file is missing or damaged, a record has more than 32 MiB, or an array does not end.
    """
    chunks = TextFile.at(path).stored_chunks()
    first = next(chunks, b"")
    read = _items if first.lstrip().startswith(b"[") else _lines
    return read(path, chain([first], chunks))


def _lines(path: str | Path, chunks: Iterable[bytes]) -> Iterator[Record]:
    for first, block in line_blocks(chunks, path=path, what="a record", limit=MAX_LINE_BYTES):
        for number, line in enumerate(block.split(b"\n"), first):
            if line.strip():
                yield Record(number, line)


def _items(path: str | Path, chunks: Iterable[bytes]) -> Iterator[Record]:
    """Follow brackets and quotes to where each item ends, so that only one is in memory."""
    piece, line, depth, quoted, ended = b"", 1, 0, False, False
    for data in _whole_escapes(chunks):
        start = 0
        for token in _TOKEN.finditer(data):
            if token[0] == b'"':
                quoted = not quoted
            if quoted or token[0] not in _STEPS:
                continue
            before, depth = depth, depth + _STEPS[token[0]]
            if ended or (before, depth) not in _BOUNDARIES:
                continue
            piece += data[start : token.end() if (before, depth) == _ITEM_ENDS else token.start()]
            start = token.start() if (before, depth) == _ITEM_BEGINS else token.end()
            if content := piece.strip(_BETWEEN_ITEMS):
                blank = len(piece) - len(piece.lstrip(_BETWEEN_ITEMS))
                yield Record(line + piece.count(b"\n", 0, blank), content)
            line += piece.count(b"\n")
            piece, ended = b"", depth == 0
        piece += data[start:]
        if len(piece) > MAX_LINE_BYTES:
            raise DataError.at(
                path, line, f"expected a record of at most {MAX_LINE_BYTES:,} bytes, got a longer one"
            )
    if not ended or piece.strip():
        found = "more after it" if ended else "the end of the file; it is truncated, download it again"
        raise DataError.at(path, line, f"expected a JSON array that ends in ']', got {found}")


def _whole_escapes(chunks: Iterable[bytes]) -> Iterator[bytes]:
    r"""Yield the same bytes, cut so that a `\` and what it escapes stay together."""
    held = b""
    for chunk in chunks:
        data = held + chunk
        whole = data.rstrip(b"\\")
        held = data[len(whole) :]
        yield whole
    yield held
