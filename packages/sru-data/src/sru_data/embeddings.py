"""Pretrained word embeddings; only the words in use are kept in memory.

The format is detected from the content, plain or compressed with gzip:

    GloVe text        `word v_1 ... v_D` per line
    fastText .vec     a line `N D`, then N lines as above
    word2vec binary   a line `N D`, then N times: word, one space, D little-endian float32
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from sru_data.embedding_files import Vectors, open_vectors
from sru_data.errors import DataError

# The Penn Treebank's escapes for marks that embedding files contain unescaped.
_TREEBANK = (("-lrb-", "("), ("-rrb-", ")"), ("``", '"'), ("''", '"'), ("\\/", "/"), ("\\*", "*"))


@dataclass(frozen=True)
class EmbeddingMatrix:
    """The rows of an embedding layer."""

    weight: Tensor
    """(V, D) float32, row i for token i."""
    found: int
    """The number of tokens found in the file."""


def read_embeddings(path: str | Path, words: Collection[str], *, dim: int | None = None) -> dict[str, Tensor]:
    """Read the vectors of some words; if a word occurs twice in the file, the first vector is used.

    A word missing from the file gets the vector of another spelling: an escape of the Penn Treebank that of
    the character (`-lrb-` that of `(`), and a lower-case word that of `Word` or else of `WORD`.

    In text formats a word may contain spaces: the last D fields of a line are its numbers. D is taken from
    the header, or from the majority of the lines. The width of every line is checked, but only the numbers of
    words in use are parsed. A line is limited to 1 MiB, and a vector to 65,536 numbers.

    Args:
        path: The file.
        words: The words in use.
        dim: The expected width D; taken from the file if None.

    Returns:
        A (D,) float32 vector for each word found, in file order; those found under other spellings come last.

    Raises:
        DataError: The file is missing, truncated, has another width, or a line is malformed.
    """
    others = {word: spellings for word in words if (spellings := _other_spellings(word))}
    wanted = {word.encode("utf-8"): word for word in chain(words, *others.values())}
    with open_vectors(path, dim=dim) as file:
        found = _read(path, file, wanted)
    given = set(words)
    vectors = {word: vector for word, vector in found.items() if word in given}
    for word, spellings in others.items():
        if word not in found and (known := [spelling for spelling in spellings if spelling in found]):
            vectors[word] = found[known[0]]
    return vectors


def frequent_words(path: str | Path, limit: int | None = None) -> list[str]:
    """Read the first words of an embedding file, which are its most frequent ones.

    GloVe, word2vec and fastText write words in descending order of frequency. Words that are not UTF-8 are
    left out.

    Args:
        path: The file.
        limit: The maximum number of words; None for all.

    Returns:
        The words in file order, each once.

    Raises:
        DataError: As for `read_embeddings`, up to `limit` words.
    """
    words: dict[str, None] = {}
    with open_vectors(path) as file:
        for _, word, _ in file.records:
            if len(words) == limit:
                break
            with suppress(UnicodeDecodeError):
                words[word.decode("utf-8")] = None
    return list(words)


def _other_spellings(word: str) -> list[str]:
    """Return other spellings of a word in a file, the closest first."""
    plain = word
    for escape, mark in _TREEBANK:
        plain = plain.replace(escape, mark)
    cased = [plain.capitalize(), plain.upper()] if plain.islower() else []
    return [spelling for spelling in (plain, *cased) if spelling != word]


def embedding_matrix(
    path: str | Path,
    tokens: Sequence[str],
    *,
    dim: int | None = None,
    seed: int = 0,
    vectors: Mapping[str, Tensor] | None = None,
) -> EmbeddingMatrix:
    """Create the initial weight of an embedding layer from a file.

    Row 0, padding, is zero. A token missing from the file gets a row from the uniform distribution with mean
    0 and the standard deviation σ of the vectors found, U(-√3 σ, √3 σ).

    Args:
        path: The embedding file.
        tokens: The vocabulary in the order of its ids, padding first.
        dim: The expected width; taken from the file if None.
        seed: Seed of the random rows.
        vectors: The result of `read_embeddings` for the tokens, to avoid reading the file again.

    Returns:
        The (V, D) float32 weight and the number of tokens found.

    Raises:
        DataError: As for `read_embeddings`, or the file has none of the tokens.
    """
    if vectors is None:
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


def _read(path: str | Path, vectors: Vectors, wanted: Mapping[bytes, str]) -> dict[str, Tensor]:
    """Return the vectors of the wanted words, in file order."""
    records, width, announced, is_text = vectors
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
                    raise ValueError("one that is infinite or NaN")
            except ValueError as error:
                raise DataError.at(
                    path, line, f"expected {width} numbers after the word {word!r}, got: {error}"
                ) from error
            found[word] = torch.frombuffer(numbers, dtype=torch.float32)
    if announced not in (None, number):
        raise DataError.at(
            path,
            None,
            f"expected {announced:,} vectors of width {width} as the header says, got {number:,}; "
            "the file is damaged, download it again",
        )
    return found
