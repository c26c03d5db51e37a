"""Common Voice: sentences read by volunteers, a TSV file per part and the recordings in `clips`.

Source: Ardila et al., "Common Voice: a massively-multilingual speech corpus", 2020. CC0.
"""

from __future__ import annotations

from pathlib import Path

from sru_data.datasets.speech.listing import check_files
from sru_data.datasets.speech.utterance import Parts, Utterance
from sru_data.tables import open_table

HOME_URL = "https://commonvoice.mozilla.org/datasets"
PLACES = ("speech/common-voice", "common-voice")
"""Possible paths of a language's folder in the data folder."""


def read_common_voice(folder: Path) -> Parts:
    """Read the folder of one language.

    Args:
        folder: The folder that holds `train.tsv`, `dev.tsv`, `test.tsv` and `clips`.

    Raises:
        DataError: A file is missing or malformed.
    """
    return {
        "train": _read(folder, "train.tsv"),
        "validation": _read(folder, "dev.tsv"),
        "test": _read(folder, "test.tsv"),
    }


def _read(folder: Path, name: str) -> list[Utterance]:
    table = open_table(folder / name)
    utterances = [
        Utterance(clip, str(folder / "clips" / clip), text.strip(), speaker=speaker or None, place=row.place)
        for row in table.rows(["path", "sentence", "client_id"])
        for clip, text, speaker in [row.values]
    ]
    return check_files(utterances, folder / name)
