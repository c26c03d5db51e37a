"""The JSON records of a file: one per line, or the items of one array, which may be a field of an object."""

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
# Includes the white space around the colon. Looking further back takes time quadratic in the number of
# fields.
_LONGEST_KEY = 256
# Deeper than any Python parser goes. Counting a record that is all brackets takes half a minute.
_DEEPEST = 100_000
_STEPS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
# Transitions between depths, relative to the array. Text between items should be blank, and is a record if it
# is not.
_ARRAY_BEGINS, _ITEM_BEGINS, _ITEM_ENDS, _ARRAY_ENDS = (-1, 0), (0, 1), (1, 0), (0, -1)
_BOUNDARIES = {_ARRAY_BEGINS, _ITEM_BEGINS, _ITEM_ENDS, _ARRAY_ENDS}


class Record(NamedTuple):
    """One record, not parsed yet."""

    line: int
    """The line on which it begins, counted from 1."""
    content: bytes
    """Its text, which should be JSON."""


def read_records(path: str | Path, *, field: str | None = None) -> Iterator[Record]:
    """Yield the records of a file, reading it as a stream.

    If the first character of a file is `[`, the file is an array whose items are the records. Otherwise every
    line that is not blank is a record.

    Args:
        path: JSON lines or a JSON array; the suffix of its name determines the compression, as for
            `TextFile`.
        field: The field that holds the array, if the file is a single object; other fields are skipped.

    Raises:
        DataError: The file is missing or damaged, a record has more than 32 MiB or is nested too deep, an
            array does not end, or the field is missing.
    """
    chunks = TextFile.at(path).stored_chunks()
    first = next(chunks, b"")
    whole = chain([first], chunks)
    if field is None:
        return (_items if first.lstrip().startswith(b"[") else _lines)(path, whole)
    if not first.lstrip().startswith(b"{"):
        found = "a JSON array" if first.lstrip().startswith(b"[") else "something else"
        raise DataError.at(path, None, f"expected a JSON object with an array {field!r}, got {found}")
    return _items(path, whole, field)


def _lines(path: str | Path, chunks: Iterable[bytes]) -> Iterator[Record]:
    for first, block in line_blocks(chunks, path=path, what="a record", limit=MAX_LINE_BYTES):
        for number, line in enumerate(block.split(b"\n"), first):
            if line.strip():
                yield Record(number, line)


def _items(path: str | Path, chunks: Iterable[bytes], field: str | None = None) -> Iterator[Record]:
    """Find the end of each item by following brackets and quotes, so that only one is in memory."""
    begins = re.compile(rb"" if field is None else rb'(?<!\\)"%b"\s*:\s*\Z' % re.escape(field.encode()))
    within = 1 if field is None else 2
    piece, line, depth, quoted, ended, array_seen, in_array = b"", 1, 0, False, False, False, False
    for data in _whole_escapes(chunks):
        start = 0
        for token in _TOKEN.finditer(data):
            if token[0] == b'"':
                quoted = not quoted
            if quoted or token[0] not in _STEPS or ended:
                continue
            before, depth = depth, depth + _STEPS[token[0]]
            if depth > _DEEPEST:
                raise DataError.at(
                    path, line, f"expected brackets nested at most {_DEEPEST:,} deep, got deeper ones"
                )
            move = (before - within, depth - within)
            ended = depth == 0
            if move == _ARRAY_BEGINS and token[0] == b"[":
                before_it = data[max(start, token.start() - _LONGEST_KEY) : token.start()]
                in_array = bool(begins.search(piece[-_LONGEST_KEY:] + before_it))
            if not ended and not (in_array and move in _BOUNDARIES):
                continue
            piece += data[start : token.end() if move == _ITEM_ENDS else token.start()]
            start = token.start() if move == _ITEM_BEGINS else token.end()
            if in_array and move != _ARRAY_BEGINS and (content := piece.strip(_BETWEEN_ITEMS)):
                blank = len(piece) - len(piece.lstrip(_BETWEEN_ITEMS))
                yield Record(line + piece.count(b"\n", 0, blank), content)
            line += piece.count(b"\n")
            piece, array_seen, in_array = b"", array_seen or in_array, in_array and move != _ARRAY_ENDS
        piece += data[start:]
        if len(piece) > MAX_LINE_BYTES:
            raise DataError.at(
                path, line, f"expected a record of at most {MAX_LINE_BYTES:,} bytes, got a longer one"
            )
    bracket = "]" if field is None else "}"
    if not ended or piece.strip():
        found = "more after it" if ended else "the end of the file; it is truncated, download it again"
        what = "array" if field is None else "object"
        raise DataError.at(path, line, f"expected a JSON {what} that ends in {bracket!r}, got {found}")
    if not array_seen:
        raise DataError.at(
            path, None, f"expected a JSON object with an array {field!r}, got an object without it"
        )


def _whole_escapes(chunks: Iterable[bytes]) -> Iterator[bytes]:
    r"""Yield the same bytes, split so that a `\` and the character it escapes stay together."""
    held = b""
    for chunk in chunks:
        data = held + chunk
        whole = data.rstrip(b"\\")
        held = data[len(whole) :]
        yield whole
    yield held
