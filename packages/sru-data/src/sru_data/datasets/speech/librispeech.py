"""LibriSpeech: about 1,000 hours of audiobooks, in folders `PART/SPEAKER/CHAPTER` of FLAC files.

Source: Panayotov, Chen, Povey and Khudanpur, "Librispeech: an ASR corpus based on public domain audio
books", 2015. CC BY 4.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sru_data.datasets.speech.listing import check_files, text_lines
from sru_data.datasets.speech.utterance import Parts, Utterance
from sru_data.errors import DataError

HOME_URL = "https://www.openslr.org/12"
PLACES = ("speech/LibriSpeech", "LibriSpeech")
"""Possible paths in the data folder."""


def read_librispeech(
    folder: Path,
    *,
    train: Sequence[str] = ("train-clean-100",),
    validation: Sequence[str] = ("dev-clean",),
    test: Sequence[str] = ("test-clean",),
) -> Parts:
    """Read some of the folders. Texts consist of upper-case words and apostrophes.

    Args:
        folder: The folder that holds `train-clean-100` and so on.
        train: The folders to train on.
        validation: The folders to validate on.
        test: The folders to test on.

    Raises:
        DataError: A folder or a file is missing, or a line is malformed.
    """
    return {
        "train": _read(folder, train),
        "validation": _read(folder, validation),
        "test": _read(folder, test),
    }


def _read(folder: Path, names: Sequence[str]) -> list[Utterance]:
    return [utterance for name in names for utterance in _read_folder(folder / name)]


def _read_folder(folder: Path) -> list[Utterance]:
    if not folder.is_dir():
        raise DataError.at(folder, None, f"expected this folder, got none; unpack {HOME_URL} there")
    utterances = []
    for listed in sorted(folder.glob("*/*/*.trans.txt")):
        for number, line in text_lines(listed):
            id, _, text = line.partition(" ")
            speaker = id.partition("-")[0]
            if speaker != listed.parts[-3] or not text:
                raise DataError.at(
                    listed,
                    number,
                    f"expected '{listed.parts[-3]}-CHAPTER-NUMBER TEXT', got {line[:60]!r}",
                )
            path = str(listed.parent / f"{id}.flac")
            utterances.append(Utterance(id, path, text, speaker=speaker, place=f"{listed}:{number}"))
    return check_files(utterances, folder)
