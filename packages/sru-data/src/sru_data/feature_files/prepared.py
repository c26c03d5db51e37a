"""Prepared features: their parts, and how they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from sru_data.datasets.speech.utterance import PartName, Utterance
from sru_data.errors import DataError
from sru_data.features.config import FeatureConfig
from sru_data.prepared_folders import FEATURES_NAME, Stored, first_difference, map_tensor, read_settings

FORMAT = 1
FILE_NAME = FEATURES_NAME
PARTS: tuple[PartName, ...] = get_args(PartName)
REMEDY = "delete the folder and prepare the features again"


class PartPaths(NamedTuple):
    """The paths of the files of a part."""

    rows: Path
    """`NAME.rows`: int64; for each utterance and speed, its first frame and the number of its frames."""
    frames: Path
    """`NAME.frames`: float32, frame after frame."""
    utterances: Path
    """`NAME.utterances`: the fields of each utterance, a line of JSON per utterance."""


def part_paths(folder: Path, name: str) -> PartPaths:
    """Return the paths of the files of a part."""
    return PartPaths(*(folder / f"{name}.{kind}" for kind in PartPaths._fields))


@dataclass(frozen=True)
class Part:
    """The record of one part."""

    source: str
    """The fingerprint of the utterances and their files."""
    count: int
    """The number of utterances."""
    speeds: list[float]
    """The speeds at which each utterance was prepared."""
    left_out: dict[str, str]
    """The reason for each utterance that could not be read, by id."""
    rows: Stored
    frames: Stored
    utterances: Stored

    def __post_init__(self) -> None:
        if self.count < 1 or self.rows.size != 16 * self.count * len(self.speeds):
            raise ValueError(f"{self.count:,} utterances in {self.rows.size:,} bytes")
        if 1.0 not in self.speeds:
            raise ValueError(f"speeds {self.speeds} without 1.0")


@dataclass(frozen=True)
class Settings:
    """The content of `features.json`, which is written last; without it the folder is ignored."""

    name: str
    """The name of the data set."""
    config: FeatureConfig
    """The feature configuration."""
    parts: dict[str, Part]
    """The parts by name."""

    def __post_init__(self) -> None:
        if not self.parts or not self.parts.keys() <= set(PARTS):
            raise ValueError(f"features for {', '.join(self.parts) or 'no part'}")

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Read the settings of a folder.

        Raises:
            DataError: They are missing, damaged or of another version.
        """
        return read_settings(folder, FILE_NAME, cls, version=FORMAT, remedy=REMEDY)

    def difference(self, now: Mapping[str, object]) -> str | None:
        """Describe the first difference from the intended content, if any.

        Args:
            now: The `identity` of the intended content.
        """
        sources = {name: (part.source, part.speeds) for name, part in self.parts.items()}
        then = identity(self.name, self.config, sources)
        return first_difference(then, now, parts=PARTS, sources="recordings or speeds")


def identity(
    name: str, config: FeatureConfig, sources: Mapping[str, tuple[str, Sequence[float]]]
) -> dict[str, object]:
    """Return everything that determines the content of a folder, by the names used in messages."""
    parts = {part: [source, list(speeds)] for part, (source, speeds) in sources.items()}
    return {"name": name, **vars(config), **parts}


@dataclass(frozen=True, eq=False)
class FeatureFile(Sequence[Tensor]):
    """The features of one part, as a sequence of tensors; they use no memory beyond the system's cache."""

    name: str
    """The name of the part."""
    utterances: list[Utterance]
    """The utterances."""
    lengths: Tensor
    """(N,) int64: the number of frames of each utterance, at speed 1.0."""
    speeds: tuple[float, ...]
    """The speeds at which each utterance was prepared, including 1.0."""
    left_out: Mapping[str, str]
    """The reason for each utterance that could not be read, by id."""
    _rows: Tensor = field(repr=False)
    _frames: Tensor = field(repr=False)
    _opened_with: tuple[Any, ...] = field(repr=False)

    @classmethod
    def open(
        cls, folder: Path, name: str, part: Part, *, size: int, verify: bool | None = None
    ) -> FeatureFile:
        """Memory-map the files of a part.

        Args:
            folder: Their folder.
            name: The name of the part.
            part: Their record.
            size: The number of features in a frame.
            verify: Whether to compare checksums; None does so for files of up to 64 MiB.

        Raises:
            DataError: A file is missing or damaged.
        """
        paths = part_paths(folder, name)
        for path, stored in zip(paths, (part.rows, part.frames, part.utterances), strict=True):
            stored.check(path, content="prepared features", remedy=REMEDY, verify=verify)
        rows = map_tensor(paths.rows, torch.int64).view(part.count, len(part.speeds), 2)
        if (frames := int(rows[..., 1].sum())) * size * 4 != part.frames.size:
            raise DataError.at(
                paths.frames,
                None,
                f"expected {frames:,} frames of {size} features, got {part.frames.size:,} bytes; {REMEDY}",
            )
        lines = paths.utterances.read_bytes().splitlines()
        return cls(
            name,
            [Utterance(*json.loads(line)) for line in lines],
            rows[:, part.speeds.index(1.0), 1].clone(),
            tuple(part.speeds),
            part.left_out,
            rows,
            map_tensor(paths.frames, torch.float32).view(-1, size),
            (folder, name, part, size),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process map the files itself."""
        return _reopen, self._opened_with

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.utterances)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]
        """Return the features of an utterance, (T, F) float32.

        Args:
            index: Its number.
        """
        return self.features(index)

    def features(self, index: int, *, speed: float = 1.0) -> Tensor:
        """Return the features of an utterance at one of the prepared speeds.

        Args:
            index: Its number.
            speed: One of `speeds`.

        Returns:
            (T, F) float32, a copy.

        Raises:
            ValueError: It was not prepared at this speed.
        """
        if speed not in self.speeds:
            raise ValueError(
                f"FeatureFile: speed must be one of {', '.join(map(str, self.speeds))}, got {speed}; prepare "
                "the features with this speed"
            )
        first, count = self._rows[index, self.speeds.index(speed)].tolist()
        return self._frames[first : first + count].clone()


def _reopen(folder: Path, name: str, part: Part, size: int) -> FeatureFile:
    return FeatureFile.open(folder, name, part, size=size, verify=False)


@dataclass(frozen=True, eq=False)
class PreparedFeatures:
    """The parts of a speech data set, with their features."""

    name: str
    """The name of the data set."""
    folder: Path
    """The folder of its files."""
    config: FeatureConfig
    """The feature configuration."""
    parts: Mapping[str, FeatureFile]
    """The utterances of "train", "validation" and "test", where present."""


def open_prepared(folder: str | Path, *, verify: bool | None = None) -> PreparedFeatures:
    """Open what `prepare` wrote.

    Args:
        folder: The folder.
        verify: Whether to read all files and compare their checksums; None does so for those of up to 64 MiB.
            Sizes are always compared.

    Raises:
        DataError: Files are missing, damaged or of another version.
    """
    folder = Path(folder)
    settings = Settings.read(folder)
    size = settings.config.size
    parts = {
        name: FeatureFile.open(folder, name, part, size=size, verify=verify)
        for name, part in settings.parts.items()
    }
    return PreparedFeatures(settings.name, folder, settings.config, parts)
