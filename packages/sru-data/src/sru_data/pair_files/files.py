"""The pairs of one part of a data set in memory-mapped files."""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_data.datasets.translation import Pair
from sru_data.prepared_folders import Stored, map_tensor

REMEDY = "delete the folder and prepare the pairs again"


class Row(NamedTuple):
    """The entry of a pair in `NAME.rows`; offsets count from the beginning of a file."""

    place: int
    """The offset of its ids in `NAME.ids`, in numbers; the ids of the source come first."""
    source_length: int
    """The number of ids of the source."""
    target_length: int
    """The number of ids of the translation."""
    text: int
    """The offset of its texts in `NAME.texts`, in bytes."""


ROW_BYTES = 8 * len(Row._fields)


class Example(NamedTuple):
    """The ids of a pair, without markers and padding."""

    index: int  # type: ignore[assignment]  # hides the method of tuples
    """The number of the pair in its part."""
    source: Tensor
    """(S,) int64."""
    target: Tensor
    """(T,) int64, the ids of the first translation."""


@dataclass(frozen=True)
class PartFiles:
    """The three files of a part."""

    rows: Stored
    """`NAME.rows`: a `Row` of int64 per pair."""
    ids: Stored
    """`NAME.ids`: int32; for each pair the ids of the source, then those of the translation."""
    texts: Stored
    """`NAME.texts`: a line of JSON per pair, [source, translations]."""


class PartPaths(NamedTuple):
    """The paths of the files of a part."""

    rows: Path
    ids: Path
    texts: Path


def part_paths(folder: Path, name: str) -> PartPaths:
    """Return the paths of the files of a part."""
    return PartPaths(*(folder / f"{name}.{kind}" for kind in PartPaths._fields))


@dataclass(frozen=True, eq=False)
class PairPart(Sequence[Example]):
    """The pairs of one part, as a sequence of examples; they use no memory beyond the system's cache."""

    name: str
    """The name of the part."""
    lengths: Tensor
    """(N, 2) int64: the number of ids of each source and of its translation."""
    _rows: Tensor = field(repr=False)
    _ids: Tensor = field(repr=False)
    _texts: mmap.mmap = field(repr=False)
    _opened_with: tuple[Any, ...] = field(repr=False)

    @classmethod
    def open(cls, folder: Path, name: str, files: PartFiles, *, verify: bool | None = None) -> PairPart:
        """Memory-map the files of a part.

        Args:
            folder: Their folder.
            name: The name of the part.
            files: Their records.
            verify: Whether to compare checksums; None does so for files of up to 64 MiB.

        Raises:
            DataError: A file is missing or damaged.
        """
        paths = part_paths(folder, name)
        for path, stored in zip(paths, (files.rows, files.ids, files.texts), strict=True):
            stored.check(path, content="prepared pairs", remedy=REMEDY, verify=verify)
        rows = map_tensor(paths.rows, torch.int64).view(-1, len(Row._fields))
        with paths.texts.open("rb") as file:
            texts = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        first = Row._fields.index("source_length")
        lengths = rows[:, first : first + 2].clone()
        return cls(name, lengths, rows, map_tensor(paths.ids, torch.int32), texts, (folder, name, files))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process map the files itself."""
        return _reopen, self._opened_with

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        """Return the ids of a pair.

        Args:
            index: Its number.
        """
        row = self._row(index)
        lengths = [row.source_length, row.target_length]
        ids = self._ids[row.place : row.place + sum(lengths)].to(torch.int64)
        return Example(index % len(self._rows), *torch.split(ids, lengths))

    def text(self, index: int) -> Pair:
        """Return the texts of a pair, with all translations.

        Args:
            index: Its number.
        """
        place = self._row(index).text
        source, targets = json.loads(self._texts[place : self._texts.find(b"\n", place)])
        return Pair(source, tuple(targets))

    def _row(self, index: int) -> Row:
        return Row(*self._rows[index].tolist())


def _reopen(folder: Path, name: str, files: PartFiles) -> PairPart:
    return PairPart.open(folder, name, files, verify=False)
