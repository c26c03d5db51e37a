"""CMU AN4: spelled words, dates and commands, 948 utterances for training and 130 for the test.

The folder is as published: transcripts and lists of files in `etc`, and either cepstra in
`feat/FILE.mfc` (13 per frame) or audio in `wav/FILE.sph`. One speaker in ten is used for validation.

Source: Acero and Stern, "Environmental robustness in automatic speech recognition", 1990.
"""

from __future__ import annotations

import re
from pathlib import Path

from sru_data.datasets.speech.listing import check_files, is_file, split_speakers, text_lines
from sru_data.datasets.speech.utterance import Parts, Utterance
from sru_data.errors import DataError

HOME_URL = "http://www.speech.cs.cmu.edu/databases/an4"
PLACES = ("speech/an4_mfc", "speech/an4", "an4")
"""Possible paths in the data folder."""
UNIGRAMS = "etc/an4.ug.lm"
"""The word n-gram model that comes with the data, in ARPA format."""
_KINDS = (("feat", ".mfc"), ("wav", ".sph"), ("wav", ".wav"), ("wav", ".flac"))
_MARKS = re.compile("</?s>|<sil>")


def read_an4(folder: Path, *, seed: int = 0) -> Parts:
    """Read the three parts.

    Args:
        folder: The folder with `etc`.
        seed: Seed for choosing the validation speakers.

    Raises:
        DataError: A file is missing or malformed.
    """
    train, validation = split_speakers(_read(folder, "train"), seed=seed)
    return {"train": train, "validation": validation, "test": _read(folder, "test")}


def _read(folder: Path, part: str) -> list[Utterance]:
    listed = folder / f"etc/an4_{part}.fileids"
    texts = folder / f"etc/an4_{part}.transcription"
    files = text_lines(listed)
    lines = text_lines(texts)
    if len(files) != len(lines):
        raise DataError.at(
            texts, None, f"expected {len(files):,} lines, one for each of {listed.name}, got {len(lines):,}"
        )
    place, ending = _kind(folder, files[0][1] if files else "")
    utterances = []
    for (_, name), (number, line) in zip(files, lines, strict=True):
        id = Path(name).name
        if not line.endswith(f"({id})"):
            raise DataError.at(texts, number, f"expected a transcript and ({id}), got {line[-60:]!r}")
        spoken = " ".join(_MARKS.sub(" ", line.removesuffix(f"({id})")).split())
        path = str(folder / place / f"{name}{ending}")
        speaker = Path(name).parent.name or None
        utterances.append(Utterance(id, path, spoken, speaker=speaker, place=f"{texts}:{number}"))
    return check_files(utterances, listed)


def _kind(folder: Path, name: str) -> tuple[str, str]:
    found = (kind for kind in _KINDS if is_file(folder / kind[0] / f"{name}{kind[1]}"))
    return next(found, _KINDS[0])
