"""Writes the files of one part, pair by pair."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sru_data.atomic import atomic_write
from sru_data.datasets.translation import Pair
from sru_data.pair_files.files import PartFiles, Row, part_paths
from sru_data.pair_files.vocabularies import Vocabularies
from sru_data.prepared_folders import GrowingFile
from sru_data.preparing import check_counts, none_kept

Reason = Literal["empty sentence", "sentence longer than the limit"]
"""Why a training pair was left out."""


@dataclass(frozen=True)
class PartReport:
    """How many pairs of one part were read, kept and left out."""

    read: int
    """The number of pairs in the files."""
    kept: int
    """The number kept as examples."""
    dropped: dict[str, int]
    """The number left out for each `Reason`."""
    examples: dict[str, str]
    """The place of the first pair left out for each reason."""

    def __post_init__(self) -> None:
        check_counts(
            read=self.read,
            kept=self.kept,
            dropped=self.dropped,
            examples=self.examples,
            reasons=get_args(Reason),
        )


class PartWriter:
    """Writes the files of one part; they appear when the block ends without an exception.

    Args:
        folder: The folder.
        name: The name of the part. "train" keeps only the pairs that can be trained on.
        vocabularies: The tokenizers.
        max_length: The maximum number of ids in a sentence of "train".
    """

    def __init__(self, folder: Path, name: str, vocabularies: Vocabularies, *, max_length: int) -> None:
        self._name = name
        self._paths = part_paths(folder, name)
        self._vocabularies = vocabularies
        self._limit = max_length if name == "train" else None
        self._read = self._kept = 0
        self._dropped: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def __enter__(self) -> PartWriter:
        self._stack = ExitStack()
        self._rows, self._ids, self._texts = (
            GrowingFile(self._stack.enter_context(atomic_write(path))) for path in self._paths
        )
        return self

    def __exit__(self, *error: object) -> bool | None:
        return self._stack.__exit__(*error)  # type: ignore[arg-type]

    def add(self, pair: Pair) -> None:
        """Write a pair, or count it as left out."""
        self._read += 1
        source = self._vocabularies.source.encode(pair.source)
        target = self._vocabularies.target.encode(pair.targets[0])
        if reason := self._reason(pair, max(len(source), len(target))):
            self._dropped[reason] += 1
            self._examples.setdefault(reason, pair.place)
            return
        self._kept += 1
        text = self._texts.write_line([pair.source, pair.targets])
        place = self._ids.write_numbers("i", source, target) // 4
        self._rows.write_numbers("q", Row(place, len(source), len(target), text))

    def _reason(self, pair: Pair, length: int) -> Reason | None:
        if self._limit is None:
            return None
        if not pair.source.strip() or not pair.targets[0].strip():
            return "empty sentence"
        return "sentence longer than the limit" if length > self._limit else None

    def report(self) -> PartReport:
        """Return how many pairs were read, kept and left out.

        Raises:
            DataError: No pair could be kept.
        """
        if not self._kept:
            raise none_kept(self._name, "pairs", read=self._read, examples=self._examples)
        return PartReport(self._read, self._kept, dict(self._dropped), self._examples)

    def files(self) -> PartFiles:
        """Return the records of the files."""
        return PartFiles(self._rows.stored(), self._ids.stored(), self._texts.stored())
