"""Kaldi data directories: `wav.scp` or `feats.scp`, and optionally `text`, `segments` and `utt2spk`.

Each line is an id followed by its fields:

    wav.scp     RECORDING FILE                  text        UTTERANCE WORDS
    feats.scp   UTTERANCE ARCHIVE:POSITION      utt2spk     UTTERANCE SPEAKER
    segments    UTTERANCE RECORDING START END   (in seconds)

Without `segments`, each recording is one utterance. Relative paths are relative to the current directory, as
in Kaldi. Commands in place of file names are not run.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from sru_data.datasets.speech.listing import check_files, text_lines
from sru_data.datasets.speech.utterance import Utterance
from sru_data.errors import DataError


class _Entry(NamedTuple):
    """The content of a line after its id."""

    value: str
    number: int


def read_kaldi(folder: str | Path, *, features: bool = False) -> list[Utterance]:
    """Read a data directory.

    Args:
        folder: The directory.
        features: Whether to take the features of `feats.scp` rather than the audio of `wav.scp`.

    Raises:
        DataError: A file is missing or malformed, names a command, or lacks an id that another file has.
    """
    folder = Path(folder)
    texts, speakers = (_entries(folder / name, optional=True) for name in ("text", "utt2spk"))
    if features:
        listed = folder / "feats.scp"
        found = [_stored(listed, id, entry) for id, entry in (_entries(listed) or {}).items()]
    else:
        listed = folder / "wav.scp"
        found = _recorded(folder, listed)
    utterances = []
    for utterance in found:
        text = _look_up(folder / "text", texts, utterance)
        speaker = _look_up(folder / "utt2spk", speakers, utterance)
        utterances.append(utterance._replace(text=text, speaker=speaker))
    return check_files(utterances, listed)


def _recorded(folder: Path, listed: Path) -> list[Utterance]:
    entries = _entries(listed) or {}
    recordings = {
        id: _file(listed, entry, "; run it and name the file that it writes") for id, entry in entries.items()
    }
    path = folder / "segments"
    segments = _entries(path, optional=True)
    if segments is None:
        return [
            Utterance(id, file, place=f"{listed}:{entries[id].number}") for id, file in recordings.items()
        ]
    utterances = []
    for id, (value, number) in segments.items():
        fields = value.split()
        try:
            recording, start, end = fields[0], float(fields[1]), float(fields[2])
        except (IndexError, ValueError):
            recording, start, end = "", 0.0, 0.0
        # -1 is the end of the recording.
        if len(fields) != 3 or not (0 <= start < end < math.inf or (start >= 0 and end == -1)):
            raise DataError.at(
                path, number, f"expected 'UTTERANCE RECORDING START END', got {f'{id} {value}'[:80]!r}"
            )
        if recording not in recordings:
            raise DataError.at(path, number, f"expected a recording of {listed.name}, got {recording!r}")
        ends = None if end == -1 else end
        place = f"{path}:{number}"
        utterances.append(Utterance(id, recordings[recording], start=start, end=ends, place=place))
    return utterances


def _stored(listed: Path, id: str, entry: _Entry) -> Utterance:
    value = _file(listed, entry, "; write the features to an archive")
    path, colon, position = value.rpartition(":")
    if not colon or not position.isdecimal() or len(position) > 18:
        path, position = value, "0"
    if value.endswith("]"):
        raise DataError.at(
            listed,
            entry.number,
            f"expected 'ARCHIVE:POSITION', got a range: {value[-60:]!r}; copy its rows to an archive",
        )
    return Utterance(id, path, position=int(position), place=f"{listed}:{entry.number}")


def _file(listed: Path, entry: _Entry, remedy: str) -> str:
    if entry.value.endswith("|") or entry.value.startswith("|") or entry.value == "-":
        raise DataError.at(
            listed, entry.number, f"expected a file, got a command: {entry.value[-60:]!r}{remedy}"
        )
    if not entry.value:
        raise DataError.at(listed, entry.number, "expected an id and a file, got only an id")
    return entry.value


def _entries(path: Path, *, optional: bool = False) -> dict[str, _Entry] | None:
    """Return the content of each line by its id; None if the file is optional and missing."""
    if optional and not path.exists():
        return None
    entries: dict[str, _Entry] = {}
    for number, line in text_lines(path):
        id, *rest = line.split(maxsplit=1)
        if id in entries:
            raise DataError.at(
                path, number, f"expected unique ids, got {id!r} on line {entries[id].number} too; remove one"
            )
        entries[id] = _Entry(" ".join(rest), number)
    return entries


def _look_up(path: Path, entries: dict[str, _Entry] | None, utterance: Utterance) -> str | None:
    if entries is None:
        return None
    if utterance.id not in entries:
        raise DataError.at(path, None, f"expected a line for {utterance.id!r} ({utterance.place}), got none")
    return entries[utterance.id].value
