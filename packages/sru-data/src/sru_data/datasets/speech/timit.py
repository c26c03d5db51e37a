"""TIMIT: read sentences with phones, in folders `TRAIN/DIALECT/SPEAKER` and `TEST/DIALECT/SPEAKER`.

Names may be in upper or lower case. The two sentences that every speaker reads (`SA`) are left out. The 24
core speakers of `TEST` are the test set, and 50 other speakers of `TEST` are the validation set.

Source: Garofolo et al., "TIMIT acoustic-phonetic continuous speech corpus", 1993; Lee and Hon,
"Speaker-independent phone recognition using hidden Markov models", 1989, for the 39 phones; Halberstadt,
1998, for the validation speakers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from sru_data.datasets.speech.listing import check_files, is_file, text_lines
from sru_data.datasets.speech.utterance import Parts, Utterance
from sru_data.errors import DataError

HOME_URL = "https://catalog.ldc.upenn.edu/LDC93S1"
PLACES = ("speech/TIMIT", "speech/timit", "TIMIT", "timit")
"""Possible paths in the data folder."""
SILENCE = "sil"
_CORE = (
    "mdab0 mwbt0 felc0 mtas1 mwew0 fpas0 mjmp0 mlnt0 fpkt0 mlll0 mtls0 fjlm0 mbpm0 mklt0 fnlp0 mcmj0 mjdh0 "
    "fmgd0 mgrt0 mnjm0 fdhc0 mjln0 mpam0 fmld0"
)
_VALIDATION = (
    "faks0 fdac1 fjem0 mgwt0 mjar0 mmdb1 mmdm2 mpdf0 fcmh0 fkms0 mbdg0 mbwm0 mcsh0 fadg0 fdms0 fedw0 mgjf0 "
    "mglb0 mrtk0 mtaa0 mtdt0 mthc0 mwjg0 fnmr0 frew0 fsem0 mbns0 mmjr0 mdls0 mdlf0 mdvc0 mers0 fmah0 fdrw0 "
    "mrcs0 mrjm4 fcal1 mmwh0 fjsj0 majc0 mjsw0 mreb0 fgjd0 fjmg0 mroa0 mteb0 mjfc0 mrjr0 fmml0 mrws1"
)
_PHONES = (
    "aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl h# hh hv ih ix iy "
    "jh k kcl l m n ng nx ow oy p pau pcl q r s sh t tcl th uh uw ux v w y z zh"
)
CORE_SPEAKERS = frozenset(_CORE.split())
VALIDATION_SPEAKERS = frozenset(_VALIDATION.split())
PHONES = tuple(_PHONES.split())
"""The 61 phones of the files."""
_FOLDED: dict[str, str | None] = {
    "ao": "aa",
    "ax": "ah",
    "ax-h": "ah",
    "axr": "er",
    "el": "l",
    "em": "m",
    "en": "n",
    "nx": "n",
    "eng": "ng",
    "hv": "hh",
    "ix": "ih",
    "ux": "uw",
    "zh": "sh",
    **dict.fromkeys(("bcl", "dcl", "gcl", "pcl", "tcl", "kcl", "h#", "pau", "epi"), SILENCE),
    # The glottal stop is dropped.
    "q": None,
}


def read_timit(folder: Path, *, phones: Literal[39, 61] = 39) -> Parts:
    """Read the three parts. Texts are phones separated by spaces.

    Args:
        folder: The folder that holds `TRAIN` and `TEST`.
        phones: The number of distinct phones: all 61, or the 39 that are scored.

    Raises:
        DataError: A folder or a file is missing, or a line is malformed.
    """
    train = list(_read(folder, "train", phones))
    test = list(_read(folder, "test", phones))
    parts: Parts = {
        "train": train,
        "validation": [utterance for utterance in test if utterance.speaker in VALIDATION_SPEAKERS],
        "test": [utterance for utterance in test if utterance.speaker in CORE_SPEAKERS],
    }
    for utterances in parts.values():
        check_files(utterances, folder)
    return parts


def folded(phones: Iterable[str]) -> list[str]:
    """Map phones to the 39 that are scored, and merge consecutive silences.

    Args:
        phones: Any of the 61 phones.
    """
    kept: list[str] = []
    for phone in phones:
        mapped = _FOLDED.get(phone, phone)
        if mapped is not None and (mapped != SILENCE or kept[-1:] != [SILENCE]):
            kept.append(mapped)
    return kept


def _read(folder: Path, name: str, phones: int) -> Iterator[Utterance]:
    part = next((path for path in sorted(folder.iterdir()) if path.name.lower() == name), None)
    if part is None or not part.is_dir():
        raise DataError.at(folder, None, f"expected a folder {name.upper()}, got none; unpack {HOME_URL}")
    for listed in sorted(part.glob("*/*/*")):
        if listed.suffix.lower() != ".phn" or listed.stem.lower().startswith("sa"):
            continue
        speaker = listed.parent.name.lower()
        spoken = [_phone(listed, number, line) for number, line in text_lines(listed)]
        text = " ".join(folded(spoken) if phones == 39 else spoken)
        id = f"{speaker}_{listed.stem.lower()}"
        yield Utterance(id, str(_audio(listed)), text, speaker=speaker, place=str(listed))


def _phone(listed: Path, number: int, line: str) -> str:
    fields = line.split()
    if len(fields) != 3 or fields[2] not in PHONES:
        raise DataError.at(listed, number, f"expected 'START END PHONE', got {line[:60]!r}")
    return fields[2]


def _audio(listed: Path) -> Path:
    """Return the audio next to a file of phones; some copies also have a converted `.WAV.wav`."""
    upper, lower = listed.with_suffix(".WAV"), listed.with_suffix(".wav")
    places = (listed.with_suffix(".WAV.wav"), upper, lower)
    return next((path for path in places if is_file(path)), upper)
