"""Pretrained word embeddings; only the words in use are kept in memory.

The format is detected from the content, plain or compressed with gzip:

    GloVe text        `word v_1 ... v_D` per line
    fastText .vec     a line `N D`, then N lines as above
    word2vec binary   a line `N D`, then N times: word, one space, D little-endian float32
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from sru_data.errors import DataError

_CHUNK = 1 << 20
_HEADER = re.compile(rb"(\d+) (\d+)\s*")
_NUMBER = re.compile(rb"[-+]?((\d+\.?\d*|\.\d+)(e[-+]?\d+)?|nan|inf)", re.IGNORECASE)
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f\ufffd]")


@dataclass(frozen=True)
class EmbeddingMatrix:
    """The rows of an embedding layer."""

    weight: Tensor
    """(V, D) float32, row i for token i."""
    found: int
    """How many tokens the file has."""


def read_embeddings(path: str | Path, words: Collection[str], *, dim: int | None = None) -> dict[str, Tensor]:
    """Read the vectors of some words; if the file has a word twice, the first one counts.

    In text formats a word may contain spaces: the last D fields of a line are its numbers. The width of every
    line is checked, but only the numbers of words in use are parsed.

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
    generator = torch.Generator().manual_seed(seed)
    weight = torch.empty(len(tokens), known.shape[1]).uniform_(-bound, bound, generator=generator)
    rows = {row: vectors[token] for row, token in enumerate(tokens) if row > 0 and token in vectors}
    weight[list(rows)] = torch.stack(list(rows.values()))
    weight[0] = 0
    return EmbeddingMatrix(weight, len(rows))


def _open(path: str | Path) -> BinaryIO:
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    # Buffered again, because GzipFile itself reads line by line in Python.
    return io.BufferedReader(gzip.GzipFile(path, "rb") if compressed else io.FileIO(path), _CHUNK)


def _read(
    path: str | Path, file: BinaryIO, wanted: Mapping[bytes, str], dim: int | None
) -> dict[str, Tensor]:
    """Return the vectors of the wanted words, in file order."""
    first, second = file.readline(_CHUNK), file.readline(_CHUNK)
    header = _HEADER.fullmatch(first)
    if header is None and not _looks_like_text(first):
        raise DataError.at(
            path,
            1,
            "expected a word and its numbers, or a header 'N D', got neither; is this an embedding file?",
        )
    width = int(header[2]) if header else dim or len(first.split()) - 1
    if header and (width < 1 or width != (dim or width)):
        raise DataError.at(
            path, 1, f"expected vectors of width {dim or '1 or more'}, got a header that says {width}"
        )
    is_text = header is None or _looks_like_text(second)
    begin = 2 if header else 1
    file.seek(len(first) if header else 0)
    records = _text_records(path, file, width, begin) if is_text else _binary_records(path, file, width)
    found: dict[str, Tensor] = {}
    number = begin - 1
    for number, (key, content) in enumerate(records, start=begin):
        word = wanted.get(key)
        if word is not None and word not in found:
            try:
                numbers = map(float, content.split(b" ")) if is_text else struct.unpack(f"<{width}f", content)
                found[word] = torch.frombuffer(array("f", numbers), dtype=torch.float32)
            except ValueError as error:
                raise DataError.at(
                    path, number, f"expected {width} numbers after the word {word!r}, got: {error}"
                ) from error
    if header and int(header[1]) != number - 1:
        raise DataError.at(
            path,
            None,
            f"expected {int(header[1]):,} vectors of width {width} as the header says, got {number - 1:,}; "
            "the file is damaged, download it again",
        )
    return found


def _looks_like_text(line: bytes) -> bool:
    """Whether a line holds a number and none of the bytes that float32 values are full of."""
    is_text = _NOT_TEXT.search(line.decode("utf-8", "replace")) is None
    return is_text and any(map(_NUMBER.fullmatch, line.split()[1:]))


def _text_records(
    path: str | Path, lines: Iterable[bytes], dim: int, first: int
) -> Iterator[tuple[bytes, bytes]]:
    for number, raw in enumerate(lines, start=first):
        line = raw.rstrip(b" \r\n")
        spaces = line.count(b" ")
        *word, numbers = line.split(b" ", spaces - dim + 1)
        # A number before the last D fields is a vector that is too wide, not a word that contains a space.
        if spaces < dim or (spaces > dim and _NUMBER.fullmatch(word[-1])):
            raise DataError.at(
                path, number, f"expected a word and {dim} numbers, got a word and {spaces} fields"
            )
        yield b" ".join(word), numbers


def _binary_records(path: str | Path, file: BinaryIO, dim: int) -> Iterator[tuple[bytes, bytes]]:
    buffer, start, width = b"", 0, 4 * dim
    while True:
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) < space + 1 + width:
            chunk = file.read(_CHUNK)
            if not chunk and buffer[start:].strip():
                raise DataError.at(
                    path,
                    None,
                    f"expected whole vectors of width {dim} up to the end of the file, got part of one",
                )
            if not chunk:
                return
            buffer, start = buffer[start:] + chunk, 0
        word, start = buffer[start:space], space + 1 + width
        # Some writers put a line end after each vector, others do not.
        yield word.lstrip(b"\n"), buffer[space + 1 : start]
