from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data import DataError, records
from sru_data.paths import matching_files
from sru_data.records import read_records
from sru_data.texts import files

SCALARS = st.none() | st.integers() | st.text(st.sampled_from('a"\\[]{},\n é'), max_size=8)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
)
OBJECTS = st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=5)


@settings(max_examples=30)
@given(OBJECTS, st.sampled_from([None, 2, "\t"]), st.integers(1, 40), st.booleans())
def test_an_array_is_read_item_by_item(tmp_path_factory, objects, indent, chunk, packed) -> None:
    content = json.dumps(objects, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    path = tmp_path_factory.mktemp("records") / f"x.json{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", chunk)
        found = list(read_records(path))
    assert [json.loads(content) for _, content in found] == objects
    lines = content.split(b"\n")
    assert all(lines[line - 1].strip().startswith((b"{", b"[{")) for line, _ in found)


@settings(max_examples=30)
@given(OBJECTS, VALUES, st.sampled_from([None, 2]), st.integers(1, 40), st.booleans())
def test_the_array_in_a_field_is_read_item_by_item(
    tmp_path_factory, objects, other, indent, chunk, last
) -> None:
    others = {"other": other, 'the "data"': [{"data": [{}]}]}
    whole = {**others, "data": objects} if last else {"data": objects, **others}
    content = json.dumps(whole, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    path = tmp_path_factory.mktemp("records") / "x.json"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", chunk)
        found = list(read_records(path, field="data"))
    assert [json.loads(content) for _, content in found] == objects
    lines = content.split(b"\n")
    assert all(b"{" in lines[line - 1] for line, _ in found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'{"data": [\n{"a": 1},\n{"b"',
            r"x:3: expected a JSON object that ends in '}', got the end of the fi",
        ),
        (b'{"data": []', r"x:1: expected a JSON object that ends in '}', got the end"),
        (b'{"data": []}\n{}', r"x:1: expected a JSON object that ends in '}', got more after it"),
        (
            b'{"data": {"data": []}}',
            r"x: expected a JSON object with an array 'data', got an object without it",
        ),
        (b'[{"data": []}]', r"x: expected a JSON object with an array 'data', got a JSON array"),
        (b"text", r"x: expected a JSON object with an array 'data', got something else"),
    ],
)
def test_a_field_without_an_array(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_records(tmp_path / "x", field="data"))


@settings(max_examples=20)
@given(OBJECTS, st.integers(1, 40))
def test_lines_are_read_one_by_one(tmp_path_factory, objects, chunk) -> None:
    path = tmp_path_factory.mktemp("records") / "x.jsonl"
    path.write_bytes("\n\n".join(map(json.dumps, objects)).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", chunk)
        found = list(read_records(path))
    assert [(line, json.loads(content)) for line, content in found] == [
        (1 + 2 * index, value) for index, value in enumerate(objects)
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'[\n{"a": 1},\n{"b"',
            r"x:3: expected a JSON array that ends in '\]', got the end of the file; it is trunc",
        ),
        (b'[{"a": "]', r"x:1: .* got the end of the file"),
        (b"[\\", r"x:1: .* got the end of the file"),
        (b"[{}]\n{}", r"x:1: expected a JSON array that ends in '\]', got more after it"),
        (b"[{}]\n[{}]", r"x:1: .* got more after it"),
    ],
)
def test_an_array_that_does_not_end(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_records(tmp_path / "x"))


def test_items_that_are_not_objects_are_records_too(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b' [1,\n "a]", {"b": 2},\n\n3 ]\n')
    assert list(read_records(tmp_path / "x")) == [(1, b'1,\n "a]"'), (2, b'{"b": 2}'), (4, b"3")]


@pytest.mark.parametrize(("head", "line"), [(b"[\n{", 2), (b"{}\n", 2), (b"[", 1)])
def test_a_record_of_any_length_is_no_record(tmp_path, monkeypatch, head: bytes, line: int) -> None:
    monkeypatch.setattr(records, "MAX_LINE_BYTES", 1 << 21)
    (tmp_path / "x").write_bytes(head + b" 1" * (1 << 21))
    with pytest.raises(
        DataError, match=rf"x:{line}: expected a record of at most 2,097,152 bytes, got a longer"
    ):
        list(read_records(tmp_path / "x"))


def test_a_record_of_nothing_but_brackets_is_no_record(tmp_path) -> None:
    (tmp_path / "x").write_bytes(b"[1,\n" + b"[" * 100_001)
    with pytest.raises(
        DataError, match="x:2: expected brackets nested at most 100,000 deep, got deeper ones"
    ):
        list(read_records(tmp_path / "x"))


def test_patterns_name_files(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "[a].txt"):
        (tmp_path / name).touch()
    a, b, brackets = (tmp_path / name for name in ("a.txt", "b.txt", "[a].txt"))
    assert matching_files(tmp_path / "?.txt") == [a, b]
    assert matching_files([str(b), str(a)]) == [b, a]
    assert matching_files(brackets) == [brackets]
    assert matching_files(tmp_path / "none") == [tmp_path / "none"]
    for pattern in (tmp_path / "*.csv", f"{tmp_path}/*\0"):
        with pytest.raises(DataError, match=r"expected files whose names match this pattern, got none"):
            matching_files(pattern)
