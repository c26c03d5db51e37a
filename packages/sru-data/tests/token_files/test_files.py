from __future__ import annotations

import dataclasses
import json
import os
import struct
import sys
import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.loaders import StreamLoader
from sru_data.prepared_folders import read_record, write_record
from sru_data.token_files import TextCounts, TokenFile, files
from sru_data.token_files.files import Description, token_bytes, token_size, token_type


def write(folder, ids, *, vocabulary=100):
    path = folder / "train.tokens"
    dtype = token_type(vocabulary)
    content = token_bytes(torch.tensor(ids, dtype=torch.int64), dtype)
    path.write_bytes(content)
    counts = TextCounts(tokens=len(ids))
    description = Description(dtype, vocabulary, counts, "text", "tokenizer", zlib.crc32(content))
    write_record(folder / "train.json", description, version=1)
    return path


def change(path, **entries):
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


@given(st.lists(st.integers(0, 2**16 - 1)))
def test_ids_of_two_bytes_are_little_endian(ids) -> None:
    assert token_bytes(torch.tensor(ids, dtype=torch.int64), "uint16") == struct.pack(f"<{len(ids)}H", *ids)


@given(st.lists(st.integers(0, 2**31 - 1)))
def test_ids_of_four_bytes_are_little_endian(ids) -> None:
    assert token_bytes(torch.tensor(ids, dtype=torch.int64), "int32") == struct.pack(f"<{len(ids)}i", *ids)


@pytest.mark.parametrize(("vocabulary", "dtype", "size"), [(65_536, "uint16", 2), (65_537, "int32", 4)])
def test_the_type_is_the_smallest_that_holds_the_vocabulary(tmp_path, vocabulary, dtype, size) -> None:
    assert (token_type(vocabulary), token_size(dtype)) == (dtype, size)
    opened = TokenFile.open(write(tmp_path, [vocabulary - 1, 0, 7], vocabulary=vocabulary))
    assert opened.tokens.dtype == getattr(torch, dtype)
    assert opened.tokens.tolist() == [vocabulary - 1, 0, 7]
    assert (len(opened), opened.counts.tokens, opened.description.vocabulary) == (3, 3, vocabulary)


def test_the_ids_are_mapped_and_outlive_the_file_object(tmp_path) -> None:
    path = write(tmp_path, [1, 2, 3])
    tokens = TokenFile.open(path).tokens
    with path.open("r+b") as file:
        file.write(struct.pack("<H", 9))
    assert tokens.tolist() == [9, 2, 3]


def test_a_file_larger_than_memory_is_read_where_it_is_needed(tmp_path) -> None:
    num_tokens = 1 << 38
    with (tmp_path / "train.tokens").open("wb") as file:
        file.truncate(2 * num_tokens)
        file.seek(-6, os.SEEK_END)
        file.write(struct.pack("<3H", 7, 8, 9))
    description = Description("uint16", 10, TextCounts(tokens=num_tokens), "text", "tokenizer", 0)
    write_record(tmp_path / "train.json", description, version=1)
    loader = StreamLoader(TokenFile.open(tmp_path / "train.tokens").tokens, batch_size=3, length=4)
    loader.load_state_dict({**loader.state_dict(), "position": len(loader) - 1})
    (segment,) = loader
    assert segment.targets[-1].tolist() == [0, 0, 9]
    assert segment.inputs[-1].tolist() == [0, 0, 8]


@pytest.mark.parametrize(
    ("size", "problem"), [(5, "truncated"), (0, "truncated"), (7, "not the one described")]
)
def test_a_file_of_another_size_is_an_error(tmp_path, size, problem) -> None:
    path = write(tmp_path, [1, 2, 3])
    path.write_bytes(path.read_bytes().ljust(8)[:size])
    expected = (
        rf"train\.tokens: expected 3 ids in 6 bytes, got {size} bytes; the file is {problem}, "
        "delete this file and prepare the text again"
    )
    with pytest.raises(DataError, match=expected):
        TokenFile.open(path, verify=False)


@pytest.mark.parametrize(("verify", "always"), [(None, 6), (True, 5)])
def test_a_damaged_file_is_an_error_where_it_is_verified(tmp_path, monkeypatch, verify, always) -> None:
    path = write(tmp_path, [1, 2, 3])
    path.write_bytes(b"\1\0\2\0\4\0")
    monkeypatch.setattr(files, "ALWAYS_VERIFIED_BYTES", always)
    message = r"train\.tokens: expected ids with the checksum [0-9a-f]{8}, got [0-9a-f]{8}; the file is"
    with pytest.raises(DataError, match=message):
        TokenFile.open(path, verify=verify)


@pytest.mark.parametrize(("verify", "always"), [(False, 6), (None, 5)])
def test_a_large_file_is_verified_on_request(tmp_path, monkeypatch, verify, always) -> None:
    path = write(tmp_path, [1, 2, 3])
    path.write_bytes(b"\1\0\2\0\4\0")
    monkeypatch.setattr(files, "ALWAYS_VERIFIED_BYTES", always)
    opened = TokenFile.open(path, verify=verify)
    assert opened.tokens.tolist() == [1, 2, 4]
    with pytest.raises(DataError, match="expected ids with the checksum"):
        opened.verify()


@pytest.mark.parametrize(
    ("ids", "dtype"), [([1, 10, 3], "uint16"), ([1, 70_000], "int32"), ([0, -1], "int32")]
)
def test_ids_outside_the_vocabulary_are_an_error(tmp_path, ids, dtype) -> None:
    path = tmp_path / "train.tokens"
    content = token_bytes(torch.tensor(ids), dtype)
    path.write_bytes(content)
    vocabulary = 10 if dtype == "uint16" else 70_000
    counts = TextCounts(len(ids), 1, 1, 1, 1)
    description = Description(dtype, vocabulary, counts, "", "", zlib.crc32(content))
    write_record(path.with_suffix(".json"), description, version=1)
    with pytest.raises(
        DataError, match=rf"train\.tokens: expected ids of a vocabulary of {vocabulary:,}, got "
    ):
        TokenFile.open(path)


@pytest.mark.parametrize(("make", "found"), [(os.mkdir, "a folder"), (os.mkfifo, "a named pipe")])
def test_only_a_regular_file_describes_tokens(tmp_path, make, found) -> None:
    path = write(tmp_path, [1])
    path.with_suffix(".json").unlink()
    make(path.with_suffix(".json"))
    with pytest.raises(
        DataError, match=rf"train\.json: expected the description of a token file, got: {found}"
    ):
        TokenFile.open(path)


def test_no_ids_are_an_error(tmp_path) -> None:
    with pytest.raises(DataError, match=r"train\.tokens: expected ids, got an empty file; give a text"):
        TokenFile.open(write(tmp_path, []))


def test_a_missing_file_is_an_error(tmp_path) -> None:
    path = write(tmp_path, [1])
    path.unlink()
    with pytest.raises(DataError, match=r"train\.tokens: expected a token file, got No such file"):
        TokenFile.open(path)
    path = write(tmp_path, [1])
    path.with_suffix(".json").unlink()
    with pytest.raises(
        DataError, match=r"train\.json: expected the description of train\.tokens, got no such"
    ):
        TokenFile.open(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"format": 2}', r"format 2 of another version"),
        (b"[1]", r"pop expected .*"),
        (b"", r"Expecting value.*"),
        (b'{"format": 1', r"Expecting .*"),
        (b"\xff", r"'utf-8' codec can't decode .*"),
        (b"[" * 20_000, r"maximum recursion depth .*"),
        (b'{"format": 1, "dtype": ' + b"[" * 900 + b"]" * 900 + b"}", r".* in place of .*"),
        (b'{"format": 1, "vocabulary": ' + b"9" * 5000 + b"}", r"Exceeds the limit .*"),
    ],
)
def test_a_damaged_description_is_an_error(tmp_path, content, problem) -> None:
    path = write(tmp_path, [1])
    path.with_suffix(".json").write_bytes(content)
    expected = (
        r"train\.json: expected the description of a token file in format 1, got something else "
        rf"\({problem}\); delete this file and prepare the text again"
    )
    with pytest.raises(DataError, match=expected):
        TokenFile.open(path)


@pytest.mark.parametrize(
    "entries",
    [
        {"dtype": "int32"},
        {"dtype": "int64"},
        {"counts": 3},
        {"counts": {"tokens": "3"}},
        {"counts": {"tokens": -1}},
        {"counts": {"tokens": 1, "words": -1}},
        {"counts": {"tokens": 1.0}},
        {"counts": None},
        {"counts": [1]},
        {"counts": {"tokens": True}},
        {"dtype": ["uint16"]},
        {"dtype": None},
        {"vocabulary": "10"},
        {"vocabulary": 0},
        {"vocabulary": 1 << 40, "dtype": "int32"},
        {"source": {}},
        {"tokenizer": 3},
        {"crc32": "0"},
        {"crc32": None},
        {"more": 1},
        {"x" * 100_000: 1},
    ],
)
def test_a_description_of_something_else_is_an_error(tmp_path, entries) -> None:
    path = write(tmp_path, [1])
    change(path.with_suffix(".json"), **entries)
    with pytest.raises(
        DataError,
        match=r"train\.json: expected the description of a token file in format 1, got something else",
    ):
        TokenFile.open(path)


def test_a_description_is_read_as_it_was_written(tmp_path) -> None:
    description = Description("uint16", 3, TextCounts(1, 2, 3, 4, 5), "a", "b", 6)
    path = tmp_path / "x.json"
    write_record(path, description, version=1)
    assert read_record(path, Description, expected="", missing="", version=1, remedy="") == description
    assert dataclasses.replace(description, dtype="int32", vocabulary=65_537).size == 4


def test_a_big_endian_machine_is_refused(tmp_path, monkeypatch) -> None:
    path = write(tmp_path, [1])
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(DataError, match=r"expected a little-endian machine, got a big-endian one"):
        TokenFile.open(path)
