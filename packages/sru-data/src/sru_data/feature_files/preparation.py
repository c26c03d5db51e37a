"""Computes features once, for use by any number of runs."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from sru_data.atomic import atomic_write
from sru_data.datasets.speech.utterance import PartName, Utterance
from sru_data.errors import DataError
from sru_data.feature_files.prepared import (
    FILE_NAME,
    FORMAT,
    PARTS,
    Part,
    PreparedFeatures,
    Settings,
    identity,
    open_prepared,
    part_paths,
)
from sru_data.features.config import FeatureConfig
from sru_data.features.extraction import extract
from sru_data.prepared_folders import GrowingFile, cached_folder, write_record
from sru_data.preparing import prepare_once
from sru_data.processes import count_processors, map_in_processes

_BATCH = 32
_WORTH_A_PROCESS = 5000
_Copies = list[tuple[int, bytes]]
"""The number of frames of an utterance and their content, for each speed."""


class Progress(NamedTuple):
    """The progress of a preparation."""

    stage: Literal["waiting"] | PartName
    """`waiting` while another process prepares the same folder, or the part that is being written."""
    utterances: int = 0
    """How many utterances of the part are done."""
    total: int | None = None
    """The number of utterances in the part, if known."""


def prepare(
    utterances: Mapping[PartName, Sequence[Utterance]],
    folder: str | Path | None = None,
    *,
    name: str,
    config: FeatureConfig,
    speeds: Sequence[float] = (1.0,),
    skip_bad: bool = False,
    processes: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PreparedFeatures:
    """Compute the features of utterances and write them to files, or open the files if they exist.

    If two processes prepare the same folder, one works and the other waits for it. An incomplete folder is
    not used: an interrupted preparation starts over. Recordings are considered unchanged if their names,
    sizes and modification times are unchanged.

    Args:
        utterances: The utterances of each part.
        folder: The folder of this data set with these features, created if missing; default:
            `prepared_folder`.
        name: The name of the data set.
        config: The feature configuration.
        speeds: The speeds of the training utterances, including 1.0; other parts are prepared at 1.0.
        skip_bad: Whether to leave out utterances that cannot be read, and list them in `left_out` of their
            part, instead of raising an error.
        processes: The number of processes; None means one per processor for 5,000 or more recordings, else
            only this one. A script that uses several must call this below `if __name__ == "__main__":`.
        progress: Called before each part and after each utterance.

    Returns:
        The prepared features.

    Raises:
        DataError: A file cannot be read, a part has no readable utterance, or the folder holds other features
            or damaged files.
        ValueError: An option is invalid.
    """
    if processes is not None and processes < 1:
        raise ValueError(f"prepare: processes must be at least 1, got {processes}")
    report = progress or (lambda _: None)
    wanted = _Wanted.of(utterances, name, config, speeds)
    folder = wanted.folder if folder is None else Path(folder)
    usual = _processes(config, utterances)
    prepare_once(
        folder,
        wanted,
        lambda: _finish(folder, wanted, skip_bad, processes or usual, report),
        file_name=FILE_NAME,
        read=Settings.read,
        leftovers=chain(*(part_paths(folder, part) for part in PARTS)),
        content="features",
        options="features",
        waiting=lambda: report(Progress("waiting")),
    )
    return open_prepared(folder)


def prepared_folder(
    utterances: Mapping[PartName, Sequence[Utterance]],
    *,
    name: str,
    config: FeatureConfig,
    speeds: Sequence[float] = (1.0,),
) -> Path:
    """Return the folder below `download.cache_dir()` for these recordings and options.

    Args:
        utterances: As for `prepare`, like the other arguments.
        name: The name of the data set.
        config: The feature configuration.
        speeds: The speeds of the training utterances.

    Raises:
        DataError: A file is missing.
        ValueError: An option is invalid.
    """
    return _Wanted.of(utterances, name, config, speeds).folder


@dataclass(frozen=True)
class _Wanted:
    """The intended content of a folder."""

    name: str
    config: FeatureConfig
    utterances: Mapping[PartName, Sequence[Utterance]]
    speeds: Mapping[PartName, tuple[float, ...]]
    sources: Mapping[PartName, str]

    @classmethod
    def of(
        cls,
        utterances: Mapping[PartName, Sequence[Utterance]],
        name: str,
        config: FeatureConfig,
        speeds: Sequence[float],
    ) -> _Wanted:
        if not utterances or not utterances.keys() <= set(PARTS):
            given = ", ".join(utterances) or "nothing"
            raise ValueError(f"prepare: utterances must be for train, validation or test, got {given}")
        if 1.0 not in speeds or len(set(speeds)) < len(speeds) or not all(0 < speed < 10 for speed in speeds):
            raise ValueError(
                f"prepare: speeds must be distinct, above 0 and below 10, and include 1.0, got {speeds}"
            )
        if config.kind == "file" and len(speeds) > 1:
            raise ValueError("prepare: speeds are for audio, got several for feature files")
        return cls(
            name,
            config,
            utterances,
            {part: tuple(map(float, speeds)) if part == "train" else (1.0,) for part in utterances},
            {part: _fingerprint(part, utterances[part]) for part in utterances},
        )

    @property
    def identity(self) -> dict[str, object]:
        sources = {str(part): (self.sources[part], self.speeds[part]) for part in self.utterances}
        return identity(self.name, self.config, sources)

    @property
    def folder(self) -> Path:
        return cached_folder(f"{self.name}-{self.config.kind}", [FORMAT, sorted(self.identity.items())])


def _finish(
    folder: Path, wanted: _Wanted, skip_bad: bool, processes: int, report: Callable[[Progress], None]
) -> None:
    parts = {
        str(part): _write_part(folder, part, wanted, skip_bad, processes, report)
        for part in wanted.utterances
    }
    # Written last: a folder with this file is finished.
    write_record(folder / FILE_NAME, Settings(wanted.name, wanted.config, parts), version=FORMAT)


def _write_part(
    folder: Path,
    name: PartName,
    wanted: _Wanted,
    skip_bad: bool,
    processes: int,
    report: Callable[[Progress], None],
) -> Part:
    utterances, speeds = wanted.utterances[name], wanted.speeds[name]
    total, done, place = len(utterances), 0, 0
    left_out: dict[str, str] = {}
    report(Progress(name, 0, total))
    with ExitStack() as stack:
        rows, frames, listed = (
            GrowingFile(stack.enter_context(atomic_write(path))) for path in part_paths(folder, name)
        )
        extracted = stack.enter_context(closing(_extracted(utterances, wanted.config, speeds, processes)))
        for utterance, copies in extracted:
            done += 1
            if isinstance(copies, DataError):
                if not skip_bad:
                    raise copies
                left_out[utterance.id] = str(copies)
            else:
                for length, content in copies:
                    rows.write_numbers("q", [place, length])
                    frames.write(content)
                    place += length
                listed.write_line(list(utterance))
            report(Progress(name, done, total))
        if len(left_out) == total:
            raise DataError(
                f"{name}: expected readable utterances, got {total:,}, none of them readable: "
                f"{next(iter(left_out.values()), 'there is none')}"
            )
    return Part(
        source=wanted.sources[name],
        count=total - len(left_out),
        speeds=list(speeds),
        left_out=left_out,
        rows=rows.stored(),
        frames=frames.stored(),
        utterances=listed.stored(),
    )


def _extracted(
    utterances: Sequence[Utterance], config: FeatureConfig, speeds: Sequence[float], processes: int
) -> Generator[tuple[Utterance, _Copies | DataError], None, None]:
    """Yield the features of each utterance at each speed, or the error if it cannot be read."""
    work = partial(_extract, config, speeds)
    batches = (utterances[start : start + _BATCH] for start in range(0, len(utterances), _BATCH))
    with closing(
        map_in_processes(work, batches, processes=processes, doing="feature_files")
        if processes > 1
        else (work(batch) for batch in batches)
    ) as results:
        yield from zip(utterances, chain.from_iterable(results), strict=True)


def _extract(
    config: FeatureConfig, speeds: Sequence[float], utterances: Sequence[Utterance]
) -> list[_Copies | DataError]:
    results: list[_Copies | DataError] = []
    for utterance in utterances:
        try:
            copies = [extract(config, utterance, speed=speed) for speed in speeds]
        except DataError as error:
            results.append(error)
        else:
            results.append([(len(copy), array("f", copy.flatten().tolist()).tobytes()) for copy in copies])
    return results


def _fingerprint(part: str, utterances: Sequence[Utterance]) -> str:
    """Return a checksum of utterances and of the sizes and modification times of their files."""
    digest = hashlib.sha256()
    for utterance in utterances:
        try:
            status = os.stat(utterance.path)
        except (OSError, ValueError):
            # The code that reads the file raises an error with a complete message.
            known = [0, 0]
        else:
            known = [status.st_size, status.st_mtime_ns]
        digest.update(json.dumps([*utterance, *known]).encode())
    return f"{part}:{digest.hexdigest()}"


def _processes(config: FeatureConfig, utterances: Mapping[PartName, Sequence[Utterance]]) -> int:
    """Return the default number of processes; starting them takes seconds."""
    few = sum(map(len, utterances.values())) < _WORTH_A_PROCESS
    return 1 if few or config.kind == "file" else count_processors()
