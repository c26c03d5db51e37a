"""Lists of your own recordings: CSV, TSV, JSON lines or Parquet, a row per utterance.

    audio      the file, relative to the list; or `audio_filepath`, as NeMo writes it
    text       what is said
    label      the class of the clip
    speaker    who speaks
    start      where the utterance begins, in seconds; or `offset`
    end        where it ends; or `duration`, its length
    id         its id; by default the file, and the start if there is one

Only the first is required; other columns are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from sru_data.datasets.speech.listing import check_files
from sru_data.datasets.speech.utterance import Utterance
from sru_data.errors import DataError, shortened
from sru_data.tables import Row, open_table

_AUDIO = ("audio", "audio_filepath")
_OTHERS = ("text", "label", "speaker", "start", "offset", "end", "duration", "id")
_TWICE = (_AUDIO, ("start", "offset"), ("end", "duration"))


def read_manifest(paths: str | Path | Sequence[str | Path]) -> list[Utterance]:
    """Read lists of recordings with the columns described in this module.

    Args:
        paths: A file, a pattern as in `glob`, or several, as for `sru_data.tables.open_table`.

    Raises:
        DataError: A list is missing or malformed, has two columns for the same field or none for the audio; a
            time is not a number of seconds; two utterances have the same id; or recordings are missing, which
            the message lists.
    """
    table = open_table(paths)
    for names in _TWICE:
        if len(given := [name for name in names if name in table.columns]) > 1:
            raise DataError.at(
                table.files[0], 1, f"expected either {' or '.join(map(repr, given))}, got both; remove one"
            )
    audio = next((name for name in _AUDIO if name in table.columns), _AUDIO[0])
    columns = [audio, *(name for name in _OTHERS if name in table.columns)]
    utterances = [_utterance(row, dict(zip(columns, row.values, strict=True))) for row in table.rows(columns)]
    return check_files(utterances, table.files[0])


def _utterance(row: Row, fields: dict[str, str]) -> Utterance:
    audio = next(fields[name] for name in _AUDIO if name in fields)
    if not audio:
        raise DataError.at(row.file, row.line, "expected an audio file, got an empty field; remove the row")
    start = _seconds(row, fields, "start") or _seconds(row, fields, "offset") or 0.0
    duration = _seconds(row, fields, "duration")
    end = _seconds(row, fields, "end") if duration is None else start + duration
    if end is not None and end <= start:
        raise DataError.at(
            row.file, row.line, f"expected an utterance that ends after it begins, got {start:g} to {end:g}"
        )
    return Utterance(
        id=fields.get("id") or (f"{audio}@{start:g}" if start else audio),
        path=str(row.file.parent / audio),
        text=fields["text"].strip() if "text" in fields else None,
        label=fields.get("label", "").strip() or None,
        speaker=fields.get("speaker", "").strip() or None,
        start=start,
        end=end,
        place=row.place,
    )


def _seconds(row: Row, fields: dict[str, str], name: str) -> float | None:
    if not (text := fields.get(name, "").strip()):
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DataError.at(
            row.file, row.line, f"expected a number of seconds in {name!r}, got {shortened(text, 40)!r}"
        )
    return seconds
