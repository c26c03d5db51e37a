"""Pretrained word embeddings; only the words in use are kept in memory.

The format is detected from the content, plain or compressed with gzip:

    GloVe text        `word v_1 ... v_D` per line
    fastText .vec     a line `N D`, then N lines as above
    word2vec binary   a line `N D`, then N times: word, one space, D little-endian float32
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from sru_data.errors import DataError
from sru_data.reading import open_file, read_lines

_CHUNK = 1 << 20
_VOTERS = 1000
_WIDEST = 1 << 16
# What gzip makes of zeros.
_MOST_COMPRESSED = 1032
_HEADER = re.compile(rb"\s*(\d{1,18})\s+(\d{1,18})\s*")
_NUMBER = re.compile(rb"[-+]?((\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?|nan|inf)", re.IGNORECASE)
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f\ufffd]")
_Line = tuple[int, bytes]
_Record = tuple[int | None, bytes, bytes]


@dataclass(frozen=True)
class EmbeddingMatrix:
    """The rows of an embedding layer."""

    weight: Tensor
    """(V, D) float32, row i for token i."""
    found: int
    """How many tokens the file has."""


def read_embeddings(path: str | Path, words: Collection[str], *, dim: int | None = None) -> dict[str, Tensor]:
    """Read the vectors of some words; if the file has a word twice, the first one counts.

    In text formats a word may contain spaces: the last D fields of a line are its numbers. D is the header's,
    or what most lines agree on. The width of every line is checked, but only the numbers of words in use are
    parsed. A line has at most 1 MiB, and a vector 65,536 numbers.

    Args:
        path: The file.
        words: The words in use.
        dim: The width D that the file must have; taken from the file if None.

    Returns:
        A (D,) float32 vector for each word that the file has, in file order.

    Raises:
        DataError: The file is missing, truncated, has another width, or a line is malformed.
    """
    wanted = {word.encode("utf-8"): word for word in words}
    try:
        with _open(path) as file:
            return _read(path, file, wanted, dim)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError.at(
            path,
            None,
            f"expected a complete embedding file, got: {getattr(error, 'strerror', None) or error}",
        ) from error


def embedding_matrix(
    path: str | Path, tokens: Sequence[str], *, dim: int | None = None, seed: int = 0
) -> EmbeddingMatrix:
    """Make the initial weight of an embedding layer from a file.

    Row 0, padding, is zero. A token that the file lacks gets a row from the uniform distribution with mean 0
    and the standard deviation σ of the vectors found, U(-√3 σ, √3 σ).

    Args:
        path: The embedding file.
        tokens: The vocabulary in the order of its ids, padding first.
        dim: The width the file must have; taken from the file if None.
        seed: Seed of the random rows.

    Returns:
        The (V, D) float32 weight and the number of tokens found.

    Raises:
        DataError: As `read_embeddings`, or the file has none of the tokens.
    """
    vectors = read_embeddings(path, set(tokens[1:]), dim=dim)
    if not vectors:
        raise DataError.at(
            path,
            None,
            f"expected vectors for some of the {len(tokens):,} tokens, got none; "
            "do language and letter case match?",
        )
    known = torch.stack(list(vectors.values()))
    bound = 3**0.5 * float(known.std(correction=0))
    if not 2 * bound <= torch.finfo(torch.float32).max:
        raise DataError.at(
            path,
            None,
            f"expected vectors with a finite spread, got numbers up to {float(known.abs().max()):g}",
        )
    generator = torch.Generator().manual_seed(seed)
    weight = torch.empty(len(tokens), known.shape[1]).uniform_(-bound, bound, generator=generator)
    rows = {row: vectors[token] for row, token in enumerate(tokens) if row > 0 and token in vectors}
    weight[list(rows)] = torch.stack(list(rows.values()))
    weight[0] = 0
    return EmbeddingMatrix(weight, len(rows))


def _open(path: str | Path) -> BinaryIO:
    with open_file(path, "expected a complete embedding file, got") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    # Buffered again, because GzipFile itself reads line by line in Python.
    return io.BufferedReader(gzip.GzipFile(path, "rb") if compressed else io.FileIO(path), _CHUNK)


def _read(
    path: str | Path, file: BinaryIO, wanted: Mapping[bytes, str], dim: int | None
) -> dict[str, Tensor]:
    """Return the vectors of the wanted words, in file order."""
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
        _text_records(path, rest if header else chain([(1, first)], rest), width)
        if is_text
        else _binary_records(path, file, width)
    )
    found: dict[str, Tensor] = {}
    number = 0
    for line, key, content in records:
        number += 1
        word = wanted.get(key)
        if word is not None and word not in found:
            try:
                values = map(float, content.split(b" ")) if is_text else struct.unpack(f"<{width}f", content)
                numbers = array("f", values)
                if not math.isfinite(sum(numbers)):
                    raise ValueError("one that is infinite or not a number")
            except ValueError as error:
                raise DataError.at(
                    path, line, f"expected {width} numbers after the word {word!r}, got: {error}"
                ) from error
            found[word] = torch.frombuffer(numbers, dtype=torch.float32)
    if header and int(header[1]) != number:
        raise DataError.at(
            path,
            None,
            f"expected {int(header[1]):,} vectors of width {width} as the header says, got {number:,}; "
            "the file is damaged, download it again",
        )
    return found


def _check_header(path: str | Path, number: int, width: int, dim: int | None) -> None:
    """Refuse a header that cannot be true before anything of the size it gives is made."""
    if width < 1 or width != (dim or width):
        raise DataError.at(
            path, 1, f"expected vectors of width {dim or '1 or more'}, got a header that says {width}"
        )
    if width > _WIDEST or number * width > os.path.getsize(path) * _MOST_COMPRESSED:
        raise DataError.at(
            path,
            1,
            f"expected a header that fits the file, got one of {number:,} vectors of width {width:,} in "
            f"{os.path.getsize(path):,} bytes",
        )


def _agreed_width(path: str | Path, lines: Iterable[_Line], dim: int | None) -> int:
    """Return how many numbers most lines end in, so that one with a number in its word misleads nobody."""
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
    """Count the numbers at the end of a line, the word excepted."""
    return sum(1 for _ in takewhile(_NUMBER.fullmatch, reversed(line.split()[1:])))


def _looks_like_text(line: bytes) -> bool:
    """Whether a line holds a number and none of the bytes that float32 values are full of."""
    is_text = _NOT_TEXT.search(line.decode("utf-8", "replace")) is None
    return is_text and any(map(_NUMBER.fullmatch, line.split()[1:]))


def _text_records(path: str | Path, lines: Iterable[_Line], width: int) -> Iterator[_Record]:
    for number, raw in lines:
        line = raw.rstrip()
        spaces = line.count(b" ")
        if spaces != width:
            # A blank line, a word with spaces, or white space of another kind.
            fields = line.split()
            line, spaces = b" ".join(fields), len(fields) - 1
        if spaces >= width:
            *word, numbers = line.split(b" ", spaces - width + 1)
            yield number, b" ".join(word), numbers
        elif line:
            raise DataError.at(
                path, number, f"expected a word and {width} numbers, got a word and {spaces} fields"
            )


def _binary_records(path: str | Path, file: BinaryIO, width: int) -> Iterator[_Record]:
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
                    f"expected whole vectors of width {width} up to the end of the file, got part of one",
                )
        word, start = buffer[start:space], space + 1 + size
        # Some writers put a line end after each vector, others do not.
        yield None, word.lstrip(b"\n"), buffer[space + 1 : start]
