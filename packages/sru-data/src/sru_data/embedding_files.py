"""The formats of embedding files: records of a word and its numbers, as bytes."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sru_data.errors import DataError
from sru_data.reading import open_file, read_lines

_CHUNK = 1 << 20
_VOTERS = 1000
_WIDEST = 1 << 16
# The ratio at which gzip compresses zeros.
_MOST_COMPRESSED = 1032
_HEADER = re.compile(rb"\s*(\d{1,18})\s+(\d{1,18})\s*")
_NUMBER = re.compile(rb"[-+]?((\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?|nan|inf)", re.IGNORECASE)
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f\ufffd]")
_Line = tuple[int, bytes]


class Record(NamedTuple):
    """A word and its vector, both as stored in the file."""

    line: int | None
    """Its line number, in text formats."""
    word: bytes
    content: bytes
    """The numbers: text with one space between them, or float32."""


class Vectors(NamedTuple):
    """An open embedding file."""

    records: Iterator[Record]
    width: int
    """Numbers per vector."""
    announced: int | None
    """Number of vectors, if a header gives it."""
    is_text: bool


@contextmanager
def open_vectors(path: str | Path, *, dim: int | None = None) -> Iterator[Vectors]:
    """Open an embedding file; see `sru_data.embeddings` for the formats.

    Args:
        path: The file.
        dim: The width that the file must have; taken from the file if None.

    Raises:
        DataError: The file is missing, truncated or malformed, or has another width; raised at once, or when
            the record is read.
    """
    try:
        with _open(path) as file:
            yield _vectors(path, file, dim)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError.at(
            path,
            None,
            f"expected a complete embedding file, got: {getattr(error, 'strerror', None) or error}",
        ) from error


def _open(path: str | Path) -> BinaryIO:
    with open_file(path, "expected a complete embedding file, got") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    # Buffered again, because GzipFile itself reads line by line in Python.
    return io.BufferedReader(gzip.GzipFile(path, "rb") if compressed else io.FileIO(path), _CHUNK)


def _vectors(path: str | Path, file: BinaryIO, dim: int | None) -> Vectors:
    lines = read_lines(file, path=path, limit=_CHUNK)
    _, first = next(lines, (1, b""))
    begin, header = file.tell(), _HEADER.fullmatch(first)
    if header:
        width = int(header[2])
        _check_header(path, int(header[1]), width, dim)
        is_text = _looks_like_text(file.readline(_CHUNK))
    else:
        width, is_text = _agreed_width(path, chain([(1, first)], lines), dim), True
    file.seek(begin)
    rest = read_lines(file, path=path, start=2, limit=_CHUNK)
    records = (
        _text_records(path, rest if header else chain([(1, first)], rest), width, by_vote=not header)
        if is_text
        else _binary_records(path, file, width)
    )
    return Vectors(records, width, int(header[1]) if header else None, is_text)


def _check_header(path: str | Path, number: int, width: int, dim: int | None) -> None:
    """Refuse an impossible header before allocating anything of its size."""
    if width < 1 or width != (dim or width):
        raise DataError.at(
            path, 1, f"expected vectors of width {dim or '1 or more'}, got a header with width {width}"
        )
    if width > _WIDEST or number * width > os.path.getsize(path) * _MOST_COMPRESSED:
        raise DataError.at(
            path,
            1,
            f"expected a header that matches the file, got one for {number:,} vectors of width {width:,} in "
            f"{os.path.getsize(path):,} bytes",
        )


def _agreed_width(path: str | Path, lines: Iterable[_Line], dim: int | None) -> int:
    """Return how many numbers most lines end in, so that a few words with numbers in them do not matter."""
    votes = Counter(_numbers_in(line) for _, line in islice(lines, _VOTERS))
    agreed = max(votes, key=lambda width: (width > 0, votes[width]))
    if not agreed:
        raise DataError.at(
            path,
            1,
            "expected a word and its numbers, or a header 'N D', got neither; is this an embedding file?",
        )
    if agreed != (dim or agreed):
        raise DataError.at(path, 1, f"expected a word and {dim} numbers, got a word and {agreed} fields")
    return agreed


def _numbers_in(line: bytes) -> int:
    """Count the numbers at the end of a line, excluding the word."""
    return sum(1 for _ in takewhile(_NUMBER.fullmatch, reversed(line.split()[1:])))


def _looks_like_text(line: bytes) -> bool:
    """Whether a line contains a number and none of the bytes typical of float32 values."""
    is_text = _NOT_TEXT.search(line.decode("utf-8", "replace")) is None
    return is_text and any(map(_NUMBER.fullmatch, line.split()[1:]))


def _text_records(path: str | Path, lines: Iterable[_Line], width: int, *, by_vote: bool) -> Iterator[Record]:
    number, votes = 0, Counter[int]()
    for number, raw in lines:
        line = raw.rstrip()
        spaces = line.count(b" ")
        if spaces != width:
            # A blank line, a word with spaces, or white space of another kind.
            fields = line.split()
            line, spaces = b" ".join(fields), len(fields) - 1
            if by_vote and spaces > width:
                votes[_numbers_in(line)] += 1
        if spaces >= width:
            *word, numbers = line.split(b" ", spaces - width + 1)
            yield Record(number, b" ".join(word), numbers)
        elif line:
            raise DataError.at(
                path, number, f"expected a word and {width} numbers, got a word and {spaces} fields"
            )
    votes[width] += number - votes.total()
    most = max(votes, key=votes.__getitem__)
    if most > width:
        raise DataError.at(
            path,
            None,
            f"expected vectors of one width, got {width} numbers in most of the first {_VOTERS:,} lines and "
            f"{most} in most of all {number:,}; is the file a concatenation of two?",
        )


def _binary_records(path: str | Path, file: BinaryIO, width: int) -> Iterator[Record]:
    buffer, start, size = b"", 0, 4 * width
    while True:
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) < space + 1 + size:
            chunk = file.read(_CHUNK)
            buffer, start = buffer[start:] + chunk, 0
            if not chunk and not buffer.strip():
                return
            if not chunk or (space < 0 and len(buffer) > 2 * _CHUNK):
                raise DataError.at(
                    path,
                    None,
                    f"expected complete vectors of width {width} up to the end of the file, got a truncated "
                    "one",
                )
        word, start = buffer[start:space], space + 1 + size
        # Some writers put a line end after each vector, others do not.
        yield Record(None, word.lstrip(b"\n"), buffer[space + 1 : start])
