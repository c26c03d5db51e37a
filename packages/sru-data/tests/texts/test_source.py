from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.texts import TextSource
from sru_data.tokenizers import ByteTokenizer, CharTokenizer, encode_block

BYTES = st.binary() | st.text("ab \n\té☃", max_size=200).map(str.encode)


@contextmanager
def sizes(block: int, chunk: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sru_data.texts.source.BLOCK_BYTES", block)
        patch.setattr("sru_data.texts.files.CHUNK_BYTES", chunk)
        yield


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


@given(BYTES.filter(bool), st.integers(4, 40), st.integers(1, 50))
def test_the_blocks_together_are_the_text_however_it_is_read(folder, content, block, chunk) -> None:
    source = TextSource.from_files(write(folder / "x", content))
    with sizes(block, chunk):
        blocks = list(source.blocks())
    assert b"".join(blocks) == content
    assert all(0 < len(piece) <= block for piece in blocks)
    assert [piece.offset for piece in blocks] == [sum(map(len, blocks[:i])) for i in range(len(blocks))]
    with sizes(block, len(content)):
        assert list(source.blocks()) == blocks


@given(BYTES.filter(bool), st.integers(0, 30))
def test_skipping_leaves_out_the_first_blocks(folder, content, skip) -> None:
    source = TextSource.from_files(write(folder / "x", content))
    with sizes(8, 8):
        assert list(source.blocks(skip)) == list(source.blocks())[skip:]


@given(st.lists(st.text("abé ", max_size=7).map(lambda line: line + "\n"), min_size=1))
def test_a_block_of_short_lines_ends_with_a_line(folder, lines) -> None:
    content = "".join(lines).encode()
    with sizes(16, 5):
        blocks = list(TextSource.from_files(write(folder / "x", content)).blocks())
    assert all(piece.endswith(b"\n") for piece in blocks)
    for piece, following in pairwise(blocks):
        assert len(piece) + following.index(b"\n") + 1 > 16, "the next line would have fitted"


def test_a_long_line_is_cut_before_white_space_else_at_a_character(tmp_path) -> None:
    def cut(line: str) -> list[str]:
        return [piece.decode() for piece in TextSource.from_text(line, name="x").blocks()]

    with sizes(8, 8):
        assert cut("one two  three four\nend") == ["one two", "  three", " four\n", "end"]
        assert cut("x☃☃☃☃☃") == ["x☃☃", "☃☃", "☃"]
        assert cut("12345678") == ["12345678"]
        assert cut("          x") == ["        ", "  x"]


def test_several_files_follow_each_other(tmp_path) -> None:
    files = [
        write(tmp_path / name, content) for name, content in [("a", b"1\n2"), ("b", b"3\n"), ("c", b"4")]
    ]
    source = TextSource.from_files(files)
    assert list(source.blocks()) == [b"1\n2", b"3\n", b"4"]
    assert [(piece.place, piece.offset) for piece in source.blocks(1)] == [
        (str(files[1]), 0),
        (str(files[2]), 0),
    ]
    assert source.size == 6
    assert source.name == str(files[0])
    assert TextSource.from_files(files, name="mine").name == "mine"


def test_the_size_is_known_where_it_costs_nothing(tmp_path) -> None:
    lines = write(tmp_path / "x.jsonl", json.dumps({"text": "ab"}).encode())
    assert TextSource.from_files(write(tmp_path / "x.txt", b"12345")).size == 5
    assert TextSource.from_files(lines).size is None
    assert TextSource.from_files([tmp_path / "x.txt", lines]).size is None
    assert TextSource.from_files([tmp_path / "x.txt", lines]).measure() == 5 + len(lines.read_bytes())


def test_the_fingerprint_is_of_names_and_content(tmp_path) -> None:
    def fingerprint(name: str, content: bytes, **options: str) -> str:
        return TextSource.from_files(write(tmp_path / name, content), **options).fingerprint

    first = fingerprint("a.txt", b"content")
    assert fingerprint("a.txt", b"content") == first
    others = [
        fingerprint("b.txt", b"content"),
        fingerprint("a.txt", b"content\n"),
        fingerprint("a.txt", b"contenT"),
        fingerprint("a.jsonl", b"{}"),
        fingerprint("a.jsonl", b"{}", text_field="body"),
        TextSource.from_text("content", name="a.txt").fingerprint,
        TextSource.from_text("contenT", name="a.txt").fingerprint,
        *(
            part.fingerprint
            for part in TextSource.from_files(write(tmp_path / "c", b"1\n2\n")).split([0.5, 0.5])
        ),
    ]
    assert len({first, *others}) == len(others) + 1


def test_an_edit_in_the_middle_of_a_large_file_changes_the_fingerprint(tmp_path) -> None:
    content = bytearray(b"x" * 1_000_000)
    before = TextSource.from_files(write(tmp_path / "x", content)).fingerprint
    content[500_001] = 0
    assert TextSource.from_files(write(tmp_path / "x", content)).fingerprint != before


@given(
    st.lists(st.lists(st.text("aé", max_size=9), max_size=20), min_size=1, max_size=3),
    st.sampled_from([(0.9, 0.05, 0.05), (0.95, 0.05), (0.5, 0.5), (0.2, 0.3, 0.5)]),
)
def test_a_text_is_cut_at_the_first_line_end_at_or_after_each_place(folder, texts, shares) -> None:
    contents = ["".join(line + "\n" for line in lines).encode() for lines in texts]
    files = [write(folder / f"{i}", content) for i, content in enumerate(contents)]
    whole = b"".join(contents)
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    places = [round(sum(shares[:count]) * len(whole)) for count in range(1, len(shares))]
    wanted = [0, *(min((e for e in ends if e >= p), default=p) if p else 0 for p in places), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(wanted)]
    source = TextSource.from_files(files)
    with sizes(1 << 20, 3):
        if all(pieces):
            assert [b"".join(part.blocks()) for part in source.split(shares)] == pieces
        else:
            with pytest.raises(
                DataError,
                match=r"0: expected (a text that can be split into \d parts, got one of \d+ by|some text)",
            ):
                source.split(shares)


def test_a_text_without_line_ends_is_cut_at_characters() -> None:
    source = TextSource.from_text("☃" * 10, name="snow")
    assert [b"".join(part.blocks()).decode() for part in source.split((0.5, 0.25, 0.25))] == [
        "☃" * 5,
        "☃" * 3,
        "☃" * 2,
    ]


def test_a_file_ends_a_line_and_the_last_line_may_be_cut(tmp_path) -> None:
    files = [write(tmp_path / "a", b"1\n23456"), write(tmp_path / "b", b"7\n89abcd")]
    parts = TextSource.from_files(files).split((4 / 15, 4 / 15, 3 / 15, 4 / 15))
    assert [b"".join(part.blocks()) for part in parts] == [b"1\n23456", b"7\n", b"89", b"abcd"]


def test_parts_of_a_split_know_where_they_begin(tmp_path) -> None:
    source = TextSource.from_files(write(tmp_path / "x", b"one\ntwo\nbad \xff\n"))
    _, second = source.split((0.5, 0.5))
    assert [(piece, piece.offset) for piece in second.blocks()] == [(b"bad \xff\n", 8)]
    with pytest.raises(
        DataError, match=r"x: expected text in utf-8, got the byte 0xff at byte 12 \(invalid start"
    ):
        next(second.blocks()).decode()


def test_a_text_can_be_cut_at_bytes() -> None:
    source = TextSource.from_text("abcdef", name="x")
    assert [b"".join(part.blocks()) for part in source.cut([1, 4])] == [b"a", b"bcd", b"ef"]
    with pytest.raises(
        DataError, match=r"x: expected a text that can be split into 2 parts, got one of 6 bytes, too short"
    ):
        source.cut([6])


@pytest.mark.parametrize("use", [lambda text: list(text.blocks()), lambda text: text.split((0.9, 0.1))])
def test_an_empty_text_is_an_error(tmp_path, use) -> None:
    source = TextSource.from_files([write(tmp_path / "a", b""), write(tmp_path / "b", b"")])
    with pytest.raises(DataError, match=r"a: expected some text, got an empty one; give a text with content"):
        use(source)


def test_a_text_may_have_empty_files(tmp_path) -> None:
    files = [write(tmp_path / name, content) for name, content in [("a", b""), ("b", b"x"), ("c", b"")]]
    assert list(TextSource.from_files(files).blocks()) == [b"x"]


def test_no_file_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"paths must name at least one file, got none"):
        TextSource.from_files([])


def test_a_text_larger_than_a_block_takes_little_memory(tmp_path) -> None:
    path = write(tmp_path / "x", b"a line of some length\n" * 1_000_000)
    tracemalloc.start()
    total = sum(len(piece) for piece in TextSource.from_files(path).blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 22_000_000
    assert peak < 8 << 20


@pytest.mark.parametrize("num_lines", [1, 20_000])
def test_json_lines_take_little_memory_but_for_a_long_line(tmp_path, num_lines) -> None:
    text = "some words " * (2_000_000 // num_lines)
    path = write(tmp_path / "x.jsonl", (json.dumps({"text": text}).encode() + b"\n") * num_lines)
    tracemalloc.start()
    total = sum(len(piece) for piece in TextSource.from_files(path).blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 22_000_000 + num_lines
    assert peak < 8 * max(1 << 20, len(text))


def test_blocks_are_encoded_as_text_or_as_bytes() -> None:
    tokenizer = CharTokenizer.train(["aé"])
    ids = encode_block(tokenizer, "éa?".encode())
    assert ids.dtype == torch.int64
    assert ids.tolist() == [3, 2, 1]
    assert encode_block(ByteTokenizer(), b"\xff\0").tolist() == [257, 2]
    assert encode_block(tokenizer, b"").shape == encode_block(ByteTokenizer(), b"").shape == (0,)


def test_a_block_that_is_not_utf8_is_an_error_that_names_file_and_byte(tmp_path) -> None:
    path = write(tmp_path / "x.txt", b"fine \xc3\xa9\n" * 3 + b"caf\xe9 noir\n")
    with sizes(8, 8):
        bad, *_ = TextSource.from_files(path).blocks(3)
    with pytest.raises(
        DataError, match=r"x\.txt: expected text in utf-8, got the byte 0xe9 at byte 27 .*read it as bytes"
    ):
        encode_block(CharTokenizer.train(["x"]), bad)
    with pytest.raises(DataError, match=r"text: expected text in utf-8, got the byte 0xe9 at byte 3 "):
        encode_block(CharTokenizer.train(["x"]), b"caf\xe9")
