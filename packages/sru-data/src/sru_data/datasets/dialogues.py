"""Dialogues as JSON lines, for models that answer.

Each line is one dialogue, a JSON object in UTF-8. `bot` is what the model learns to say; `user` (or `human`,
or `prompt`) is what was said to it, and may be absent:

    {"user": "Is it raining?", "bot": "No, the sun is out."}
    {"bot": "Good morning!"}

A dialogue of several turns is a list of such objects; each turn follows what was said before it:

    {"conversation": [{"user": "Hello.", "bot": "Hello!"}, {"user": "Who are you?", "bot": "A network."}]}

Other keys and empty lines are ignored.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from sru_data.errors import DataError, shortened
from sru_data.reading import decode, open_file, read_lines

USER_KEYS = ("user", "human", "prompt")
"""The keys for what the user says; a turn has at most one of them."""

_MAX_SHOWN = 60
_HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")


class Turn(NamedTuple):
    """What the user says, if anything, and what the bot answers."""

    user: str | None
    """What precedes the answer; None if the bot speaks first."""
    bot: str
    """The answer; not empty."""


Dialogue = tuple[Turn, ...]
"""At least one turn, in order."""


def read_dialogues(path: str | Path) -> list[Dialogue]:
    """Read a file of dialogues.

    Args:
        path: JSON lines in the form that the module describes.

    Returns:
        The dialogues in file order, at least one.

    Raises:
        DataError: The file is missing, holds no dialogue, or has a malformed line.
    """
    dialogues = []
    with open_file(path, "cannot read the dialogues") as file:
        for number, line in read_lines(file, path=path):
            text = decode(line, "utf-8", path=path, line=number)
            try:
                if text.strip():
                    dialogues.append(_dialogue(text))
            except _LineError as error:
                raise DataError.at(path, number, str(error)) from error
    if not dialogues:
        raise DataError.at(path, None, "expected a JSON object per line, got an empty file")
    return dialogues


class _LineError(Exception):
    """What is wrong with a line."""


def _dialogue(line: str) -> Dialogue:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise _LineError(f"expected a JSON object, got something that is not JSON: {reason}") from error
    match record:
        case {"conversation": _, "bot": _}:
            raise _LineError("expected either 'conversation' or 'bot', got both; keep one of them")
        case {"conversation": [_, *_] as turns}:
            return tuple(map(_turn, turns))
        case {"conversation": turns}:
            raise _LineError(
                f"expected 'conversation' to be a list of one or more turns, got {_shown(turns)}"
            )
    return (_turn(record),)


def _turn(record: Any) -> Turn:
    if not isinstance(record, dict):
        raise _LineError(f"expected a JSON object with the field 'bot', got {_shown(record)}")
    if "bot" not in record:
        keys = shortened(", ".join(map(repr, record)) or "none", _MAX_SHOWN)
        raise _LineError(f"expected a field 'bot' (what the model should say), got the fields {keys}")
    given = [key for key in USER_KEYS if key in record]
    if len(given) > 1:
        raise _LineError(
            f"expected one of the fields {', '.join(map(repr, USER_KEYS))}, got {' and '.join(given)}"
        )
    bot = _text(record, "bot")
    if not bot.strip():
        raise _LineError("expected 'bot' to say something, got an empty text; remove the line")
    return Turn(_text(record, given[0]) if given and record[given[0]] is not None else None, bot)


def _text(record: dict[str, Any], key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise _LineError(f"expected {key!r} to be a string, got {_shown(value)}")
    if half := _HALF_OF_A_PAIR.search(value):
        raise _LineError(
            f"expected {key!r} to be text, got half of a surrogate pair at character {half.start()}"
        )
    return value


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value)
    except RecursionError:
        return "something nested too deep"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
