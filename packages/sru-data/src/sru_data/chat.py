"""Dialogues as JSON lines, for models that answer.

One JSON object a line, in UTF-8, is a dialogue. `bot` is what the model has to learn to say, and `user` (or
`human`, or `prompt`), which may be left out, is what was said to it:

    {"user": "Is it raining?", "bot": "No, the sun is out."}
    {"bot": "Good morning!"}

A dialogue of several turns is a list of such objects; each turn follows what was said before it:

    {"conversation": [{"user": "Hello.", "bot": "Hello!"}, {"user": "Who are you?", "bot": "A network."}]}

Other keys are passed over, and so are empty lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sru_data.errors import DataError

USER_KEYS = ("user", "human", "prompt")
"""The keys of what the user says, one of them at a time."""

_MAX_SHOWN = 60


class Turn(NamedTuple):
    """What the user says, if anything, and what the bot answers."""

    user: str | None
    """What stands before the answer; None when the bot speaks first."""
    bot: str
    """The answer; not empty."""


Dialogue = tuple[Turn, ...]
"""At least one turn, in the order of the talk."""


def read_dialogues(path: str | Path) -> list[Dialogue]:
    """Read a file of dialogues.

    Args:
        path: JSON lines, as the module describes them.

    Returns:
        The dialogues in the order of the file, at least one.

    Raises:
        DataError: The file is missing, holds no dialogue, or a line of it is not in the expected form.
    """
    try:
        with Path(path).open("rb") as file:
            dialogues = [
                _parse(line, path, number) for number, line in enumerate(file, 1) if not line.isspace()
            ]
    except OSError as error:
        raise DataError.at(path, None, f"cannot read the dialogues: {error.strerror}") from error
    if not dialogues:
        raise DataError.at(path, None, "expected a JSON object a line, got an empty file")
    return dialogues


def _parse(line: bytes, path: str | Path, number: int) -> Dialogue:
    try:
        # A byte order mark is what some editors begin a file with.
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError.at(
            path,
            number,
            f"expected UTF-8, got the byte 0x{byte:02x} at position {error.start}; convert the file",
        ) from error
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise DataError.at(path, number, f"expected a JSON object, got what is not JSON: {reason}") from error
    return tuple(_turns(record, path, number))


def _turns(record: Any, path: str | Path, number: int) -> Iterator[Turn]:
    if not isinstance(record, dict) or "conversation" not in record:
        yield _turn(record, path, number)
        return
    turns = record["conversation"]
    if "bot" in record:
        raise DataError.at(
            path, number, "expected either 'conversation' or 'bot', got both; keep one of them"
        )
    if not isinstance(turns, list) or not turns:
        raise DataError.at(
            path, number, f"expected 'conversation' to be a list of one or more turns, got {_shown(turns)}"
        )
    for turn in turns:
        yield _turn(turn, path, number)


def _turn(record: Any, path: str | Path, number: int) -> Turn:
    if not isinstance(record, dict):
        raise DataError.at(path, number, f"expected a JSON object with the field 'bot', got {_shown(record)}")
    if "bot" not in record:
        keys = ", ".join(map(repr, record)) or "none"
        raise DataError.at(
            path, number, f"expected a field 'bot' (what the model has to say), got the fields {keys}"
        )
    given = [key for key in USER_KEYS if key in record]
    if len(given) > 1:
        raise DataError.at(
            path,
            number,
            f"expected one of the fields {', '.join(map(repr, USER_KEYS))}, got {' and '.join(given)}",
        )
    bot = _text(record, "bot", path, number)
    if not bot.strip():
        raise DataError.at(
            path, number, "expected 'bot' to say something, got an empty text; leave the line out"
        )
    user = _text(record, given[0], path, number) if given and record[given[0]] is not None else None
    return Turn(user, bot)


def _text(record: dict[str, Any], key: str, path: str | Path, number: int) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise DataError.at(path, number, f"expected {key!r} to be a string, got {_shown(value)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError.at(
            path,
            number,
            f"expected {key!r} to be text, got half of a surrogate pair at character {error.start}",
        ) from error
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
