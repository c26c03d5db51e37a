"""Speech Commands: one word per clip, `WORD/SPEAKER_nohash_NUMBER.wav`, with lists for validation and test.

Source: Warden, "Speech Commands: a dataset for limited-vocabulary speech recognition", 2018. CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path

from sru_data.datasets.speech.listing import check_files, text_lines
from sru_data.datasets.speech.utterance import PartName, Parts, Utterance
from sru_data.errors import DataError

HOME_URL = "https://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
PLACES = ("speech/speech-commands", "speech/speech_commands_v0.02", "speech_commands_v0.02")
"""Possible paths in the data folder."""
_LISTS: dict[str, PartName] = {"validation_list.txt": "validation", "testing_list.txt": "test"}


def read_speech_commands(folder: Path) -> Parts:
    """Read the three parts. The word is both the label and the text of an utterance.

    Args:
        folder: The folder that holds a folder per word.

    Raises:
        DataError: A list or a recording is missing, or there are no words.
    """
    parts: Parts = {"train": [], "validation": [], "test": []}
    listed: set[str] = set()
    for name, part in _LISTS.items():
        lines = text_lines(folder / name)
        listed.update(line for _, line in lines)
        parts[part] = [_utterance(folder, line, f"{folder / name}:{number}") for number, line in lines]
        check_files(parts[part], folder / name)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.glob("[!_]*/*.wav"))
    parts["train"] = [_utterance(folder, name, "") for name in found if name not in listed]
    if not parts["train"]:
        raise DataError.at(
            folder, None, f"expected a folder per word with recordings, got none; unpack {HOME_URL} there"
        )
    return parts


def _utterance(folder: Path, name: str, place: str) -> Utterance:
    word, _, file = name.partition("/")
    speaker = file.partition("_")[0] or None
    return Utterance(name, str(folder / name), word, label=word, speaker=speaker, place=place)
