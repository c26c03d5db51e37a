"""Helpers for the speech readers: lines of text, missing files, held-out speakers."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sru_data.datasets.speech.utterance import Utterance
from sru_data.errors import DataError, printable, shortened
from sru_data.reading import decode, read_bytes

VALIDATION_SHARE = 0.1
"""The share of the training utterances held out for validation, if a data set has no split."""
_MOST_LISTED = 1000
_LONGEST_NAME = 160


def text_lines(path: Path) -> list[tuple[int, str]]:
    """Return the non-blank lines of a text file, stripped, with their line numbers.

    Args:
        path: The file, in UTF-8.

    Raises:
        DataError: It is missing, or not in UTF-8.
    """
    lines = read_bytes(path, expected="a list of utterances").split(b"\n")
    return [
        (number, decode(line, "utf-8", path=path, line=number).strip())
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def check_files(utterances: list[Utterance], listed: Path) -> list[Utterance]:
    """Return the utterances after checking that there are some and that their files exist.

    Args:
        utterances: The utterances.
        listed: The file or folder that lists them.

    Raises:
        DataError: There are no utterances, files are missing (the message lists them), or two utterances have
            the same id.
    """
    if not utterances:
        raise DataError.at(listed, None, "expected utterances, got none")
    seen: dict[str, str] = {}
    for utterance in utterances:
        if utterance.id in seen:
            other = f" also at {seen[utterance.id]}" if seen[utterance.id] else ""
            raise DataError.at(
                utterance.place or listed,
                None,
                f"expected unique utterance ids, got {utterance.id!r}{other}; rename one",
            )
        seen[utterance.id] = utterance.place
    places = {utterance.path: utterance.place for utterance in reversed(utterances)}
    missing = {path: place for path, place in reversed(places.items()) if not is_file(path)}
    if missing:
        named = [
            f"{shortened(path, _LONGEST_NAME)} ({place})" if place else shortened(path, _LONGEST_NAME)
            for path, place in missing.items()
        ]
        more = f" and {len(named) - _MOST_LISTED:,} more" if len(named) > _MOST_LISTED else ""
        # Not shortened: the user should be able to fix all of them at once.
        raise DataError(
            printable(
                f"{listed}: expected all files that it names, got {len(missing):,} missing: "
                f"{', '.join(named[:_MOST_LISTED])}{more}; restore them or remove their lines"
            )
        )
    return utterances


def split_speakers(
    utterances: Sequence[Utterance], *, seed: int, share: float = VALIDATION_SHARE
) -> tuple[list[Utterance], list[Utterance]]:
    """Split off all utterances of some speakers, so that no speaker is in both parts.

    Args:
        utterances: The utterances, all with speakers.
        seed: The split depends only on the speakers and this seed.
        share: The share to split off: speakers are taken in random order until it is reached.

    Returns:
        The remaining utterances and those split off, both in their original order.

    Raises:
        DataError: There is only one speaker.
    """
    counts = Counter(utterance.speaker for utterance in utterances)
    if len(counts) < 2:
        raise DataError(
            f"speech: expected at least two speakers, one of them for validation, got {len(counts)}; give "
            "files for validation"
        )
    speakers = sorted(counts, key=str)
    random.Random(f"{seed}:speakers").shuffle(speakers)
    taken: set[str | None] = set()
    for speaker in speakers[:-1]:
        if sum(counts[name] for name in taken) >= share * len(utterances):
            break
        taken.add(speaker)
    return (
        [utterance for utterance in utterances if utterance.speaker not in taken],
        [utterance for utterance in utterances if utterance.speaker in taken],
    )


def is_file(path: str | Path) -> bool:
    """Whether a file exists; any string is accepted as its name.

    Args:
        path: The file.
    """
    try:
        return os.path.isfile(path)
    except ValueError:  # A NUL byte.
        return False
