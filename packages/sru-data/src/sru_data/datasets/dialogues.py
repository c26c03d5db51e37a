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
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from sru_data.errors import DataError, decode

USER_KEYS = ("user", "human", "prompt")
"""The keys for what the user says; a turn has at most one of them."""

_MAX_SHOWN = 60


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
    try:
        with Path(path).open("rb") as file:
            dialogues = [
                _Line(path, number).parse(line) for number, line in enumerate(file, 1) if not line.isspace()
            ]
    except OSError as error:
        raise DataError.at(path, None, f"cannot read the dialogues: {error.strerror}") from error
    if not dialogues:
        raise DataError.at(path, None, "expected a JSON object per line, got an empty file")
    return dialogues


class _Line(NamedTuple):
    """One line of a file."""

    path: str | Path
    number: int

    def refuse(self, message: str, cause: Exception | None = None) -> NoReturn:
        raise DataError.at(self.path, self.number, message) from cause

    def parse(self, line: bytes) -> Dialogue:
        # Some editors put a byte order mark at the beginning of a file.
        content = line.removeprefix(b"\xef\xbb\xbf") if self.number == 1 else line
        try:
            record = json.loads(decode(content, "utf-8", path=self.path, line=self.number))
        except DataError:
            raise
        except (ValueError, RecursionError) as error:
            reason = (
                f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
            )
            self.refuse(f"expected a JSON object, got something that is not JSON: {reason}", error)
        if not isinstance(record, dict) or "conversation" not in record:
            return (self.turn(record),)
        turns = record["conversation"]
        if "bot" in record:
            self.refuse("expected either 'conversation' or 'bot', got both; keep one of them")
        if not isinstance(turns, list) or not turns:
            self.refuse(f"expected 'conversation' to be a list of one or more turns, got {_shown(turns)}")
        return tuple(map(self.turn, turns))

    def turn(self, record: Any) -> Turn:
        if not isinstance(record, dict):
            self.refuse(f"expected a JSON object with the field 'bot', got {_shown(record)}")
        if "bot" not in record:
            keys = ", ".join(map(repr, record)) or "none"
            self.refuse(f"expected a field 'bot' (what the model should say), got the fields {keys}")
        given = [key for key in USER_KEYS if key in record]
        if len(given) > 1:
            self.refuse(
                f"expected one of the fields {', '.join(map(repr, USER_KEYS))}, got {' and '.join(given)}"
            )
        bot = self.text(record, "bot")
        if not bot.strip():
            self.refuse("expected 'bot' to say something, got an empty text; remove the line")
        user = self.text(record, given[0]) if given and record[given[0]] is not None else None
        return Turn(user, bot)

    def text(self, record: dict[str, Any], key: str) -> str:
        value = record[key]
        if not isinstance(value, str):
            self.refuse(f"expected {key!r} to be a string, got {_shown(value)}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            self.refuse(
                f"expected {key!r} to be text, got half of a surrogate pair at character {error.start}", error
            )
        return value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
