"""Dialogues, for chat models: JSON lines or one JSON array, in four formats.

Each record is one dialogue. In our own format `bot` is what the model learns to say; `user` (or `human`, or
`prompt`) is what was said to it, and may be absent. A dialogue of several turns is a list of such objects:

    {"user": "Is it raining?", "bot": "No, the sun is out."}
    {"bot": "Good morning!"}
    {"conversation": [{"user": "Hello.", "bot": "Hello!"}, {"user": "Who are you?", "bot": "A network."}]}

The others are those of OpenAI, ShareGPT and Alpaca. One file may mix all four:

    {"messages": [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello!"}]}
    {"conversations": [{"from": "human", "value": "Hello."}, {"from": "gpt", "value": "Hello!"}]}
    {"instruction": "Add the numbers.", "input": "1 and 2", "output": "3"}

A `system` message, and an `input`, become a paragraph of the next user turn. OpenAI's `content` may be a list
of parts, whose texts are joined, or null if nothing is said. Other keys and empty lines are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sru_data.datasets.dialogue_forms import USER_KEYS, Dialogue, RecordError, Turn, parse_dialogue
from sru_data.errors import DataError
from sru_data.paths import matching_files
from sru_data.reading import decode, why_not_a_file
from sru_data.records import read_records

__all__ = ["USER_KEYS", "Dialogue", "Turn", "read_dialogues"]


def read_dialogues(paths: str | Path | Sequence[str | Path]) -> list[Dialogue]:
    """Read files of dialogues.

    Args:
        paths: JSON lines, or JSON arrays, in the formats described in this module, plain or compressed: a
            file, a pattern as in `glob`, or several.

    Returns:
        The dialogues in file order, at least one.

    Raises:
        DataError: A file is missing, holds no dialogue, or has a malformed record.
    """
    return [dialogue for path in matching_files(paths) for dialogue in _read(path)]


def _read(path: Path) -> list[Dialogue]:
    if reason := why_not_a_file(path):
        raise DataError.at(path, None, f"cannot read the dialogues: {reason}")
    dialogues = []
    for number, content in read_records(path):
        text = decode(content, "utf-8", path=path, line=number)
        try:
            dialogues.append(parse_dialogue(text))
        except RecordError as error:
            raise DataError.at(path, number, str(error)) from error
    if not dialogues:
        raise DataError.at(path, None, "expected a JSON object per line, got an empty file")
    return dialogues
