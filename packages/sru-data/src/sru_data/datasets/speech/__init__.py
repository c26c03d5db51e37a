"""Speech: published data sets, Kaldi data directories, and lists of your own recordings.

    an4                spelled words and commands    13 cepstra or 16 kHz    948 + 130 utterances
    fsdd               spoken digits                 8 kHz                   3,000 recordings, 6 speakers
    speech-commands    single words                  16 kHz                  the authors' lists
    timit              read sentences with phones    16 kHz                  own test set, 24 core speakers
    librispeech        audiobooks                    16 kHz                  about 1,000 hours
    common-voice       sentences, many languages     any rate                a TSV file per part

`load` reads one of these sets from the data folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sru_data.datasets.speech import an4, commands, common_voice, digits, librispeech, timit
from sru_data.datasets.speech.kaldi import read_kaldi
from sru_data.datasets.speech.manifests import read_manifest
from sru_data.datasets.speech.utterance import PartName, Parts, Utterance
from sru_data.download import DATA_DIR_VARIABLE, resolve_data_dir
from sru_data.errors import DataError

__all__ = ["NAMES", "PartName", "Parts", "Utterance", "data_folder", "load", "read_kaldi", "read_manifest"]

_SETS: dict[str, tuple[Callable[..., Parts], tuple[str, ...], str]] = {
    "an4": (an4.read_an4, an4.PLACES, an4.HOME_URL),
    "fsdd": (digits.read_fsdd, digits.PLACES, digits.HOME_URL),
    "timit": (timit.read_timit, timit.PLACES, timit.HOME_URL),
    "librispeech": (librispeech.read_librispeech, librispeech.PLACES, librispeech.HOME_URL),
    "common-voice": (common_voice.read_common_voice, common_voice.PLACES, common_voice.HOME_URL),
    "speech-commands": (commands.read_speech_commands, commands.PLACES, commands.HOME_URL),
}
NAMES: tuple[str, ...] = tuple(_SETS)


def load(name: str, *, data_dir: str | Path | None = None, **options: Any) -> Parts:
    """Read one of the sets in `NAMES`.

    Args:
        name: One of `NAMES`.
        data_dir: The data folder; `$SRU_DATA` if None.
        options: Options of the reader of this set: `seed` for `an4`, `held_out` and `validation` for
            `fsdd`, `phones` for `timit`, the folders `train`, `validation` and `test` for `librispeech`.

    Returns:
        The utterances of "train", "validation" and "test".

    Raises:
        ValueError: Unknown name.
        DataError: There is no data folder, it lacks the set, or a file is missing or malformed.
    """
    folder = data_folder(name, data_dir)
    return _SETS[name][0](folder, **options)


def data_folder(name: str, data_dir: str | Path | None = None) -> Path:
    """Return the folder of one of the sets in `NAMES`.

    Args:
        name: One of `NAMES`.
        data_dir: The data folder; `$SRU_DATA` if None.

    Raises:
        ValueError: Unknown name.
        DataError: There is no data folder, or it lacks the set.
    """
    if name not in _SETS:
        raise ValueError(f"speech.load: name must be one of {', '.join(NAMES)}, got {name!r}")
    _, places, url = _SETS[name]
    folder = resolve_data_dir(data_dir)
    if folder is None:
        raise DataError(
            f"speech: expected a data folder with {name}, got none; unpack {url} as {places[0]} in a folder "
            f"and give that folder as data_dir or in {DATA_DIR_VARIABLE}"
        )
    for place in places:
        if (folder / place).is_dir():
            return folder / place
    alternatives = f" or one of {', '.join(places[1:])} in the data folder" if places[1:] else ""
    raise DataError.at(
        folder / places[0],
        None,
        f"expected this folder{alternatives}, got none; unpack {url} there",
    )
