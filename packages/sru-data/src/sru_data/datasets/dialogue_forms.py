"""The record formats for dialogues: ours, OpenAI's, ShareGPT's and Alpaca's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from sru_data.errors import shortened
from sru_data.reading import HALF_OF_A_PAIR, parse_json

USER_KEYS = ("user", "human", "prompt")
"""The keys for what the user says; a turn has at most one of them."""
MAX_TEXT_BYTES = 1 << 20
"""The maximum length of one text of a dialogue: 1 MiB."""

_MAX_SHOWN = 60
_PARAGRAPH = "\n\n"
_OPENAI, _SHAREGPT = ("role", "content"), ("from", "value")
_ROLES = {"system": "user", "developer": "user", "user": "user", "human": "user"}
_ROLES |= {"assistant": "bot", "gpt": "bot", "chatgpt": "bot"}


class Turn(NamedTuple):
    """What the user says, if anything, and what the bot answers."""

    user: str | None
    """What precedes the answer; None if the bot speaks first."""
    bot: str
    """The answer; not empty."""


Dialogue = tuple[Turn, ...]
"""At least one turn, in order."""


class RecordError(Exception):
    """A problem with a record."""


def parse_dialogue(text: str) -> Dialogue:
    """Parse a record in any of the formats.

    Args:
        text: A JSON object.

    Raises:
        RecordError: The text is not a JSON object, matches none or several of the formats, or is malformed.
    """
    try:
        record = parse_json(text)
    except ValueError as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise RecordError(f"expected a JSON object, got something that is not JSON: {reason}") from error
    if not isinstance(record, dict):
        raise RecordError(f"expected a JSON object with the field 'bot', got {_shown(record)}")
    found = [key for key in _FORMS if key in record]
    if len(found) > 1:
        raise RecordError(
            f"expected either {' or '.join(map(repr, found))}, got {'both' if len(found) == 2 else 'all'}; "
            "keep one of them"
        )
    if not found:
        raise RecordError(
            f"{_without('bot', record)}; other forms have 'messages', 'conversations', or 'instruction' and "
            "'output'"
        )
    return _FORMS[found[0]](record)


def _turn(record: Any) -> Turn:
    if not isinstance(record, dict):
        raise RecordError(f"expected a JSON object with the field 'bot', got {_shown(record)}")
    if "bot" not in record:
        raise RecordError(_without("bot", record))
    given = [key for key in USER_KEYS if key in record]
    if len(given) > 1:
        raise RecordError(
            f"expected one of the fields {', '.join(map(repr, USER_KEYS))}, got {' and '.join(given)}"
        )
    said = _text(record, given[0]) if given and record[given[0]] is not None else None
    return Turn(said, _answer(record, "bot"))


def _conversation(record: dict[str, Any]) -> Dialogue:
    turns = _listed(record, "conversation", "turns")
    return _exchange(turns, *_OPENAI) if _is_openai(turns[0]) else tuple(map(_turn, turns))


def _messages(record: dict[str, Any]) -> Dialogue:
    return _exchange(_listed(record, "messages", "messages"), *_OPENAI)


def _conversations(record: dict[str, Any]) -> Dialogue:
    messages = _listed(record, "conversations", "messages")
    return _exchange(messages, *(_OPENAI if _is_openai(messages[0]) else _SHAREGPT))


def _is_openai(message: Any) -> bool:
    # Many data sets combine the field of one format with the messages of the other.
    return isinstance(message, dict) and not {"role", "content"} - message.keys()


def _exchange(messages: list[Any], role_key: str, text_key: str) -> Dialogue:
    """Join the messages before the bot's answer, including the system's."""
    turns: list[Turn] = []
    said: list[str] = []
    for message in messages:
        if not isinstance(message, dict):
            raise RecordError(f"expected a message with {role_key!r} and {text_key!r}, got {_shown(message)}")
        for key in (role_key, text_key):
            if key not in message:
                raise RecordError(_without(key, message))
        role = _ROLES.get(_text(message, role_key))
        if role is None:
            raise RecordError(
                f"expected {role_key!r} to be one of {', '.join(_ROLES)}, got {_shown(message[role_key])}; "
                "remove the dialogue: tools and other speakers are not supported"
            )
        if role == "user":
            said.append(_content(message, text_key))
        else:
            turns.append(Turn(_paragraphs(said) if said else None, _answer(message, text_key)))
            said = []
    if said or not turns:
        raise RecordError("expected an answer to the last message, got none; remove the message")
    return tuple(turns)


def _instruction(record: dict[str, Any]) -> Dialogue:
    if "output" not in record:
        raise RecordError(_without("output", record))
    said = [_text(record, "instruction")]
    if record.get("input") is not None:
        said.append(_text(record, "input"))
    return (Turn(_paragraphs(said), _answer(record, "output")),)


_FORMS: dict[str, Callable[[dict[str, Any]], Dialogue]] = {
    "conversation": _conversation,
    "bot": lambda record: (_turn(record),),
    "messages": _messages,
    "conversations": _conversations,
    "instruction": _instruction,
}
"""The field that identifies each format."""


def _paragraphs(texts: list[str]) -> str:
    return _PARAGRAPH.join(text for text in texts if text.strip()) or texts[-1]


def _listed(record: dict[str, Any], key: str, what: str) -> list[Any]:
    items = record[key]
    if not isinstance(items, list) or not items:
        raise RecordError(f"expected {key!r} to be a non-empty list of {what}, got {_shown(items)}")
    return items


def _answer(record: dict[str, Any], key: str) -> str:
    text = _content(record, key)
    if not text.strip():
        got = "null" if record[key] is None else "an empty text"
        raise RecordError(f"expected {key!r} not to be empty, got {got}; remove the line")
    return text


def _content(record: dict[str, Any], key: str) -> str:
    """Return a text; OpenAI's may be a list of parts, or null if nothing is said."""
    value = record[key]
    if key != "content" or not (value is None or isinstance(value, list)):
        return _text(record, key)
    texts = []
    for part in value or ():
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise RecordError(
                f"expected the parts of 'content' to be texts, as in {{'type': 'text', 'text': ...}}, got "
                f"{_shown(part)}; remove the dialogue: pictures and sounds are not supported"
            )
        texts.append(part["text"])
    return _checked(key, "".join(texts))


def _text(record: dict[str, Any], key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise RecordError(f"expected {key!r} to be a string, got {_shown(value)}")
    return _checked(key, value)


def _checked(key: str, value: str) -> str:
    if half := HALF_OF_A_PAIR.search(value):
        raise RecordError(
            f"expected {key!r} to be text, got half of a surrogate pair at character {half.start()}"
        )
    if len(value) > MAX_TEXT_BYTES // 4 and (length := len(value.encode())) > MAX_TEXT_BYTES:
        raise RecordError(f"expected {key!r} to have at most {MAX_TEXT_BYTES:,} bytes, got {length:,}")
    return value


def _without(key: str, record: dict[str, Any]) -> str:
    meaning = " (what the model should say)" if key == "bot" else ""
    keys = shortened(", ".join(map(repr, record)) or "none", _MAX_SHOWN)
    return f"expected a field {key!r}{meaning}, got the fields {keys}"


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value)
    except RecursionError:
        return "something nested too deep"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
