"""Pretrained word embeddings, of which only the words in use are kept in memory.

The format is told from the content, plain or compressed with gzip:

    GloVe text        `word v_1 ... v_D` per line
    fastText .vec     a line `N D`, then N lines as above
    word2vec binary   a line `N D`, then N times: word, one space, D little-endian float32
"""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import torch
from torch import Tensor

from sru_data.errors import DataError

_CHUNK = 1 << 20
_HEADER = re.compile(rb"(\d+) (\d+)\s*")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True)
class EmbeddingMatrix:
    """The rows of an embedding layer."""

    weight: Tensor
    """(V, D) float32, row i for token i."""
    found: int
    """How many tokens the file has."""


@dataclass(frozen=True)
class _Layout:
    kind: Literal["glove", "fasttext", "word2vec"]
    dim: int
    count: int | None = None
    """The number of words that the header announces."""


def read_embeddings(path: str | Path, words: Collection[str], *, dim: int | None = None) -> dict[str, Tensor]:
    """Read the vectors of some words; where the file has a word twice, the first counts.

    In text formats a word may hold spaces: the last D fields of a line are its numbers. The width of every
    line is checked, but only the numbers of words in use are parsed.

    Args:
        path: The file.
        words: The words in use.
        dim: The width D that the file must have; taken from the file when None.

    Returns:
        A (D,) float32 vector for each word that the file has, in the file's order.

    Raises:
        DataError: The file is missing, truncated, has another width, or a line is wrongly formed.
    """
    wanted = {word.encode("utf-8"): word for word in words}
    try:
        layout = _detect(path, dim)
        with _open(path) as file:
            found, values = _collect(path, file, layout, wanted)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError.at(path, None, f"expected a complete embedding file, got: {reason}") from error
    if not found:
        return {}
    vectors = torch.frombuffer(values, dtype=torch.float32).view(len(found), layout.dim)
    return dict(zip(found, vectors, strict=True))


def embedding_matrix(
    path: str | Path, tokens: Sequence[str], *, dim: int | None = None, seed: int = 0
) -> EmbeddingMatrix:
    """Make the initial weight of an embedding layer from a file.

    Row 0, padding, is zero. A token that the file lacks gets a row from the uniform distribution
    with mean 0 and the standard deviation σ of the vectors found, U(-√3 σ, √3 σ).

    Args:
        path: The embedding file.
        tokens: The vocabulary in the order of its ids, padding first.
        dim: The width the file must have; taken from the file when None.
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
            "are language and letter case the same?",
        )
    known = torch.stack(list(vectors.values()))
    bound = 3**0.5 * float(known.std(correction=0))
    generator = torch.Generator().manual_seed(seed)
    weight = torch.empty(len(tokens), known.shape[1]).uniform_(-bound, bound, generator=generator)
    rows = [(row, vectors[token]) for row, token in enumerate(tokens) if row > 0 and token in vectors]
    weight[[row for row, _ in rows]] = torch.stack([vector for _, vector in rows])
    weight[0] = 0
    return EmbeddingMatrix(weight, len(rows))


def _open(path: str | Path) -> BinaryIO:
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    if compressed:
        # Buffered again, because GzipFile itself reads line by line in Python.
        return io.BufferedReader(gzip.GzipFile(path, "rb"), _CHUNK)
    return open(path, "rb", buffering=_CHUNK)


def _detect(path: str | Path, dim: int | None) -> _Layout:
    with _open(path) as file:
        first = file.readline(_CHUNK)
        second = file.readline(_CHUNK)
    header = _HEADER.fullmatch(first)
    if header is None:
        if not _looks_like_text(first):
            raise DataError.at(
                path,
                1,
                "expected a word and its numbers, or a header 'N D', got neither; is this an embedding file?",
            )
        return _Layout("glove", dim if dim is not None else len(first.split()) - 1)
    count, width = int(header[1]), int(header[2])
    if width < 1 or (dim is not None and width != dim):
        raise DataError.at(
            path, 1, f"expected vectors of width {dim or '1 or more'}, got a header that says {width}"
        )
    return _Layout("fasttext" if _looks_like_text(second) else "word2vec", width, count)


def _looks_like_text(line: bytes) -> bool:
    """Whether a line holds a number and none of the bytes that float32 values are full of."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return _CONTROL.search(line) is None and any(_is_number(field) for field in line.split()[1:])


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _collect(
    path: str | Path, file: BinaryIO, layout: _Layout, wanted: Mapping[bytes, str]
) -> tuple[list[str], array[float]]:
    """Return the wanted words, in the file's order, and their numbers one after the other."""
    found: dict[str, None] = {}
    values = array("f")
    binary = layout.kind == "word2vec"
    first = 1
    if layout.count is not None:
        file.readline()
        first = 2
    records = (
        _binary_records(path, file, layout.dim) if binary else _text_records(path, file, layout.dim, first)
    )
    number = first - 1
    for number, (key, numbers) in enumerate(records, start=first):
        word = wanted.get(key)
        if word is None or word in found:
            continue
        found[word] = None
        if binary:
            values.frombytes(numbers)
            continue
        try:
            values.extend(map(float, numbers.split(b" ")))
        except ValueError as error:
            raise DataError.at(
                path, number, f"expected {layout.dim} numbers after the word {word!r}, got: {error}"
            ) from error
    if layout.count is not None and layout.count != number - 1:
        raise DataError.at(
            path,
            None,
            f"expected {layout.count:,} vectors of width {layout.dim} as the header says, "
            f"got {number - 1:,}; the file is damaged, fetch it again",
        )
    if binary and sys.byteorder == "big":
        values.byteswap()
    return list(found), values


def _text_records(path: str | Path, file: BinaryIO, dim: int, first: int) -> Iterator[tuple[bytes, bytes]]:
    for number, raw in enumerate(file, start=first):
        line = raw.rstrip(b" \r\n")
        if line.count(b" ") == dim:
            key, _, numbers = line.partition(b" ")
            yield key, numbers
            continue
        fields = line.split(b" ")
        # A number before the last D fields is a vector that is too wide, not a word that holds a space.
        if len(fields) <= dim or _is_number(fields[-dim - 1]):
            raise DataError.at(
                path, number, f"expected a word and {dim} numbers, got a word and {len(fields) - 1} fields"
            )
        yield b" ".join(fields[:-dim]), b" ".join(fields[-dim:])


def _binary_records(path: str | Path, file: BinaryIO, dim: int) -> Iterator[tuple[bytes, bytes]]:
    width = dim * array("f").itemsize
    buffer, start = b"", 0
    while True:
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) < space + 1 + width:
            chunk = file.read(_CHUNK)
            if not chunk and buffer[start:].strip():
                raise DataError.at(
                    path,
                    None,
                    f"expected whole vectors of width {dim} up to the end of the file, got a part of one",
                )
            if not chunk:
                return
            buffer, start = buffer[start:] + chunk, 0
        end = space + 1 + width
        # Some writers put a line end after each vector, others do not.
        yield buffer[start:space].lstrip(b"\n"), buffer[space + 1 : end]
        start = end
