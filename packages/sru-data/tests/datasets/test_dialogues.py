from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.datasets.dialogues import USER_KEYS, Turn, read_dialogues

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TURN = st.builds(Turn, st.none() | TEXT, TEXT.filter(str.strip))
DIALOGUE = st.lists(TURN, min_size=1, max_size=4).map(tuple)


def as_record(turn: Turn, key: str) -> dict[str, str]:
    return {"bot": turn.bot} if turn.user is None else {key: turn.user, "bot": turn.bot}


@settings(max_examples=40)
@given(st.lists(DIALOGUE, min_size=1, max_size=5), st.sampled_from(USER_KEYS), st.booleans())
def test_what_is_written_is_read(tmp_path_factory, dialogues, key, ascii_only) -> None:
    path = tmp_path_factory.mktemp("chat") / "talk.jsonl"
    lines = []
    for dialogue in dialogues:
        records = [as_record(turn, key) for turn in dialogue]
        record = records[0] if len(records) == 1 else {"conversation": records, "id": 3}
        lines.append(json.dumps(record, ensure_ascii=ascii_only))
    path.write_bytes("\n\n".join(lines).encode())
    assert read_dialogues(path) == dialogues


def test_a_conversation_of_one_turn_is_a_dialogue_of_one_turn(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text('{"conversation": [{"user": null, "bot": "yes"}]}\n{"bot": "yes", "mood": "glad"}\n')
    assert read_dialogues(path) == [(Turn(None, "yes"),)] * 2


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"bot": "yes"}\n')
    assert read_dialogues(path) == [(Turn(None, "yes"),)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{'bot': 1}", "expected a JSON object, got something that is not JSON: Expecting property name"),
        (b"[" * 100_000, "expected a JSON object, got something that is not JSON"),
        (b'"yes"', "expected a JSON object with the field 'bot', got \"yes\""),
        (b"[" + b"1, " * 50 + b"1]", "got [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,..."),
        (
            b'{"user": "a", "reply": "b"}',
            "expected a field 'bot' (what the model should say), got the fields 'user', 'reply'",
        ),
        (b"{}", "got the fields none"),
        (b'{"bot": 3}', "expected 'bot' to be a string, got 3"),
        (b'{"bot": " "}', "expected 'bot' to say something, got an empty text; remove the line"),
        (b'{"user": ["a"], "bot": "b"}', "expected 'user' to be a string, got [\"a\"]"),
        (
            b'{"user": "a", "prompt": "a", "bot": "b"}',
            "expected one of the fields 'user', 'human', 'prompt', got user and prompt",
        ),
        (b'{"bot": "a\\ud800"}', "expected 'bot' to be text, got half of a surrogate pair at character 1"),
        (
            b'{"bot": "a\xff"}',
            "expected text in utf-8, got the byte 0xff at byte 10 (invalid start byte); convert the file",
        ),
        (
            b'{"conversation": [], "id": 1}',
            "expected 'conversation' to be a list of one or more turns, got []",
        ),
        (b'{"conversation": "a"}', "expected 'conversation' to be a list of one or more turns, got \"a\""),
        (b'{"conversation": [{"user": "a"}]}', "expected a field 'bot'"),
        (b'{"conversation": ["a"]}', "expected a JSON object with the field 'bot', got \"a\""),
        (
            b'{"conversation": [{"bot": "a"}], "bot": "b"}',
            "expected either 'conversation' or 'bot', got both; keep one of them",
        ),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_bytes(b'{"bot": "fine"}\n\n' + line + b"\n")
    with pytest.raises(DataError, match=f"talk.jsonl:3: .*{re.escape(message)}"):
        read_dialogues(path)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_dialogues(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"talk.jsonl: expected a JSON object per line, got an empty file"):
        read_dialogues(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.jsonl: cannot read the dialogues: No such file or directory"):
        read_dialogues(tmp_path / "none.jsonl")
