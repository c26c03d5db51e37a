"""The Free Spoken Digit Dataset: `{digit}_{speaker}_{index}.wav`, 50 recordings of each digit and speaker.

One speaker is held out for testing. Another may be held out for validation; otherwise recordings 0 to 4 of
each digit, which the authors of the data set use as the test set, are used for validation.

Source: https://github.com/Jakobovski/free-spoken-digit-dataset. CC BY-SA 4.0.
"""

from __future__ import annotations

import re
from pathlib import Path

from sru_data.datasets.speech.utterance import PartName, Parts, Utterance
from sru_data.errors import DataError

HOME_URL = "https://github.com/Jakobovski/free-spoken-digit-dataset"
PLACES = (
    "speech/fsdd",
    "speech/free-spoken-digit-dataset/recordings",
    "free-spoken-digit-dataset/recordings",
)
"""Possible paths in the data folder."""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NAME = re.compile(r"([0-9])_([A-Za-z]+)_([0-9]{1,4})\.wav")
_VALIDATION_RECORDINGS = 5


def read_fsdd(folder: Path, *, held_out: str | None = None, validation: str | None = None) -> Parts:
    """Read the three parts. The label of an utterance is its digit, "0" to "9", and its text is the word.

    Args:
        folder: The folder of the recordings.
        held_out: The test speaker; the first in alphabetical order if None.
        validation: The validation speaker, who measures recognition of speakers outside the training data; if
            None, recordings of the training speakers are used for validation.

    Raises:
        DataError: There are no recordings, none of a given speaker, or none of other speakers.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if match := _NAME.fullmatch(path.name):
            digit, speaker, number = match.groups()
            text = DIGITS[int(digit)]
            utterance = Utterance(path.stem, str(path), text, label=digit, speaker=speaker)
            found.append((utterance, int(number)))
    speakers = sorted({str(utterance.speaker) for utterance, _ in found})
    if len(speakers) < 2:
        raise DataError.at(
            folder,
            None,
            f"expected recordings of several speakers, such as 7_jackson_32.wav, got {len(speakers)}; "
            f"download {HOME_URL}",
        )
    held_out = speakers[0] if held_out is None else held_out
    if held_out not in speakers:
        raise DataError.at(
            folder, None, f"expected held_out to be one of {', '.join(speakers)}, got {held_out!r}"
        )
    others = [speaker for speaker in speakers if speaker != held_out]
    if validation is not None and (validation not in others or len(others) == 1):
        raise DataError.at(
            folder,
            None,
            f"expected validation to be one of at least two other speakers ({', '.join(others)}), got "
            f"{validation!r}",
        )
    parts: Parts = {"train": [], "validation": [], "test": []}
    for utterance, number in found:
        if utterance.speaker == held_out:
            part: PartName = "test"
        elif validation is None:
            part = "validation" if number < _VALIDATION_RECORDINGS else "train"
        else:
            part = "validation" if utterance.speaker == validation else "train"
        parts[part].append(utterance)
    return parts


def fsdd_speakers(folder: Path) -> list[str]:
    """Return the speakers, in alphabetical order.

    Args:
        folder: The folder of the recordings.
    """
    matches = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted({match[2] for match in matches if match})
