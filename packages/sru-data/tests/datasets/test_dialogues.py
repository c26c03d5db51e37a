from __future__ import annotations

import gzip
import json
import lzma
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


def test_content_in_parts_and_null(tmp_path: Path) -> None:
    """Null is ignored if there is another message, and an empty message otherwise."""
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}]
    messages = [
        {"role": "system", "content": None},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": parts[:1], "refusal": None},
        {"role": "user", "content": None},
        {"role": "assistant", "content": "?"},
    ]
    (tmp_path / "talk.jsonl").write_text(json.dumps({"messages": messages}))
    assert read_dialogues(tmp_path / "talk.jsonl") == [(Turn("Hello.", "Hel"), Turn("", "?"))]


def test_a_conversation_of_one_turn_is_a_dialogue_of_one_turn(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text('{"conversation": [{"user": null, "bot": "yes"}]}\n{"bot": "yes", "mood": "glad"}\n')
    assert read_dialogues(path) == [(Turn(None, "yes"),)] * 2


HELLO = (Turn("Hello.", "Hello!"), Turn("Who are you?", "A network."))
OPENAI = [
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A network."},
]
SHAREGPT = [{"from": "human", "value": "Hello."}, {"from": "gpt", "value": "Hello!"}]
SHAREGPT += [{"from": "user", "value": "Who are you?"}, {"from": "assistant", "value": "A network."}]


@pytest.mark.parametrize(
    ("record", "dialogue"),
    [
        ({"messages": OPENAI, "id": 3, "prompt": "Hello."}, HELLO),
        ({"conversations": SHAREGPT}, HELLO),
        ({"conversations": OPENAI}, HELLO),
        ({"conversation": OPENAI, "model": "x"}, HELLO),
        ({"instruction": "Add.", "input": "1 and 2", "output": "3"}, (Turn("Add.\n\n1 and 2", "3"),)),
        ({"instruction": "Add.", "input": "", "output": "3", "text": "..."}, (Turn("Add.", "3"),)),
        ({"instruction": "Add.", "output": "3"}, (Turn("Add.", "3"),)),
        ({"instruction": "Add.", "input": None, "output": "3"}, (Turn("Add.", "3"),)),
    ],
)
def test_other_forms(tmp_path: Path, record, dialogue) -> None:
    (tmp_path / "talk.jsonl").write_text(json.dumps(record) + '\n{"user": "a", "bot": "b"}\n')
    assert read_dialogues(tmp_path / "talk.jsonl") == [dialogue, (Turn("a", "b"),)]
    (tmp_path / "talk.json").write_text(json.dumps([record, record], indent=2))
    assert read_dialogues(tmp_path / "talk.json") == [dialogue] * 2


@pytest.mark.parametrize(
    ("roles", "dialogue"),
    [
        ("system user assistant", (Turn("0\n\n1", "2"),)),
        ("developer assistant", (Turn("0", "1"),)),
        ("assistant user assistant", (Turn(None, "0"), Turn("1", "2"))),
        ("user user assistant assistant", (Turn("0\n\n1", "2"), Turn(None, "3"))),
        ("user assistant system user assistant", (Turn("0", "1"), Turn("2\n\n3", "4"))),
    ],
)
def test_messages_before_the_bots_answer_are_one_turn(tmp_path: Path, roles, dialogue) -> None:
    messages = [{"role": role, "content": str(place)} for place, role in enumerate(roles.split())]
    (tmp_path / "talk.jsonl").write_text(json.dumps({"messages": messages}))
    assert read_dialogues(tmp_path / "talk.jsonl") == [dialogue]


def test_an_empty_system_message_adds_no_paragraph(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": " "}, *OPENAI]
    (tmp_path / "talk.jsonl").write_text(json.dumps({"messages": messages}))
    assert read_dialogues(tmp_path / "talk.jsonl") == [HELLO]


def test_several_files_compressed_and_not(tmp_path: Path) -> None:
    for name, bot in (("b.jsonl", "b"), ("a.jsonl", "a")):
        (tmp_path / name).write_text(json.dumps({"bot": bot}))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'[{"bot": "c"}]'))
    (tmp_path / "d.json.xz").write_bytes(lzma.compress(b'[{"bot": "d"}]'))
    a, b, c, d = ((Turn(None, bot),) for bot in "abcd")
    assert read_dialogues(tmp_path / "*.jsonl") == [a, b]
    assert read_dialogues([tmp_path / "d.json.xz", f"{tmp_path}/?.jsonl*"]) == [d, a, b, c]
    with pytest.raises(DataError, match=r"x\*: expected files whose names match this pattern, got none"):
        read_dialogues(tmp_path / "x*")


def test_a_wrong_item_of_an_array_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text('[\n  {\n    "bot": "yes"\n  },\n  {\n    "bot": 3\n  }\n]\n')
    with pytest.raises(DataError, match=r"talk.json:5: expected 'bot' to be a string, got 3"):
        read_dialogues(path)
    path.write_text("[]")
    with pytest.raises(DataError, match=r"talk.json: expected a JSON object per line, got an empty file"):
        read_dialogues(path)


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
        (b'{"bot": " "}', "expected 'bot' not to be empty, got an empty text; remove the line"),
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
            "expected 'conversation' to be a non-empty list of turns, got []",
        ),
        (b'{"conversation": "a"}', "expected 'conversation' to be a non-empty list of turns, got \"a\""),
        (b'{"conversation": [{"user": "a"}]}', "expected a field 'bot'"),
        (b'{"conversation": ["a"]}', "expected a JSON object with the field 'bot', got \"a\""),
        (
            b'{"conversation": [{"bot": "a"}], "bot": "b"}',
            "expected either 'conversation' or 'bot', got both; keep one of them",
        ),
        (
            b'{"user": "a"}',
            "the fields 'user'; other forms have 'messages', 'conversations', or 'instruction' and 'output'",
        ),
        (b'{"messages": [], "instruction": ""}', "either 'messages' or 'instruction', got both; keep one"),
        (b'{"messages": {}}', "expected 'messages' to be a non-empty list of messages, got {}"),
        (b'{"messages": ["a"]}', "expected a message with 'role' and 'content', got \"a\""),
        (b'{"conversations": [{"from": "gpt"}]}', "expected a field 'value', got the fields 'from'"),
        (
            b'{"messages": [{"role": "tool", "content": "a"}]}',
            "expected 'role' to be one of system, developer, user, human, assistant, gpt, chatgpt, got "
            '"tool"; remove the dialogue: tools and other speakers are not supported',
        ),
        (
            b'{"messages": [{"role": ["user"], "content": "a"}]}',
            "expected 'role' to be a string, got [\"user\"]",
        ),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "a"}]}]}',
            "expected the parts of 'content' to be texts, as in {'type': 'text', 'text': ...}, got "
            '{"type": "image_url", "image_url": "a"}; remove the dialogue: pictures and sounds',
        ),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "text", "text": null}]}]}',
            "expected the parts of 'content' to be texts, as in",
        ),
        (
            b'{"messages": [{"role": "user", "content": ["a"]}]}',
            "expected the parts of 'content' to be texts, as in",
        ),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "\\ud800"}]}]}',
            "expected 'content' to be text, got half of a surrogate pair at character 0",
        ),
        (
            b'{"conversations": [{"from": "human", "value": null}]}',
            "expected 'value' to be a string, got null",
        ),
        (
            b'{"messages": [{"role": "assistant", "content": null}]}',
            "expected 'content' not to be empty, got null; remove the line",
        ),
        (b'{"messages": [{"role": "assistant", "content": ""}]}', "expected 'content' not to be empty"),
        (
            b'{"messages": [{"role": "user", "content": "a"}]}',
            "expected an answer to the last message, got none; remove the message",
        ),
        (
            b'{"instruction": "a", "response": "b"}',
            "expected a field 'output', got the fields 'instruction', 're",
        ),
        (b'{"instruction": "a", "input": 3, "output": "b"}', "expected 'input' to be a string, got 3"),
        (b'{"instruction": "a", "output": " "}', "expected 'output' not to be empty, got an empty text"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_bytes(b'{"bot": "fine"}\n\n' + line + b"\n")
    with pytest.raises(DataError, match=f"talk.jsonl:3: .*{re.escape(message)}"):
        read_dialogues(path)


DEEP = b"[" * 50_000
LONG = b"x" * 3_000_000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"messages": ' + DEEP, "got something that is not JSON: "),
        (
            b'{"conversations": [{"from": ' + DEEP + b"]" * 50_000 + b"}]}",
            "is not JSON: maximum recursion depth",
        ),
        (b'{"messages": [' + b"1, " * 2_100_000 + b"{}]}", "is not JSON: more than 2,097,152 values"),
        (b'{"' + LONG + b'": 1}', "expected a field 'bot' (what the model should say), got the fields 'xxx"),
        (b'{"messages": [{"' + LONG + b'": 1}]}', "expected a field 'role', got the fields 'xxx"),
        (
            b'{"messages": [{"role": "' + LONG + b'", "content": "a"}]}',
            "expected 'role' to have at most 1,048,576",
        ),
        (b'{"conversations": "' + LONG + b'"}', 'to be a non-empty list of messages, got "xxx'),
        (b'{"bot": "' + LONG + b'"}', "expected 'bot' to have at most 1,048,576 bytes, got 3,000,000"),
        (
            b'{"messages": [{"role": "assistant", "content": "' + LONG + b'"}]}',
            "expected 'content' to have at most",
        ),
        (
            b'{"instruction": "' + LONG + b'", "output": "a"}',
            "expected 'instruction' to have at most 1,048,576",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
@pytest.mark.parametrize("array", [False, True])
def test_a_hostile_record_is_refused_in_a_short_sentence(tmp_path: Path, line, message, array) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_bytes(b'[{"bot": "fine"},\n' + line + b"]" if array else b'{"bot": "fine"}\n' + line)
    expected = r"expected a JSON array that ends" if array and line.endswith(DEEP) else re.escape(message)
    with pytest.raises(DataError, match=f"talk.jsonl:2: .*{expected}") as raised:
        read_dialogues(path)
    assert len(str(raised.value)) < 400 + len(str(path))


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_dialogues(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"talk.jsonl: expected a JSON object per line, got an empty file"):
        read_dialogues(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.jsonl: cannot read the dialogues: No such file or directory"):
        read_dialogues(tmp_path / "none.jsonl")
