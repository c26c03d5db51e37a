"""Lines of `LABEL text`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.datasets.classification import Example, read_examples


def examples(*pairs: tuple[str, int]) -> list[Example]:
    return [Example(*pair) for pair in pairs]


def write(folder: Path, content: bytes) -> Path:
    path = folder / "x.all"
    path.write_bytes(content)
    return path


def test_lines_become_examples_and_an_empty_text_is_kept(tmp_path) -> None:
    path = write(tmp_path, b"1 good  film .\n0 \n0\n1  spaces  \n")
    assert read_examples(path, num_classes=2) == examples(
        ("good  film .", 1), ("", 0), ("", 0), ("spaces", 1)
    )


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_last_line_may_lack_its_end(tmp_path, end) -> None:
    assert read_examples(write(tmp_path, b"0 a\n1 b" + end), num_classes=2) == examples(("a", 0), ("b", 1))


@pytest.mark.parametrize(
    ("stored", "given", "text"),
    [
        ("utf-8", None, "crème brûlée"),
        ("latin-1", None, "crème brûlée"),
        ("utf-8", "utf-8", "crème brûlée"),
        ("utf-8", "latin-1", "crÃ¨me brÃ»lÃ©e"),
    ],
)
def test_the_encoding_is_the_given_one_else_detected(tmp_path, stored, given, text) -> None:
    path = write(tmp_path, "0 crème brûlée\n".encode(stored))
    assert read_examples(path, num_classes=1, encoding=given) == examples((text, 0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b"caf\xe9 noir",
            r"x\.all:2: expected text in utf-8, got the byte 0xe9 at byte 3 \(invalid continuation byte\)",
        ),
        (b"caf\xc3", r"x\.all:2: .* got the byte 0xc3 at byte 3 \(unexpected end of data\)"),
        (
            b"\xff",
            r"x\.all:2: .* got the byte 0xff at byte 0 .*; download the file again or convert it",
        ),
    ],
)
def test_a_line_that_is_not_in_the_given_encoding_is_an_error(tmp_path, text, message) -> None:
    path = write(tmp_path, "0 crème\n".encode() + b"0 " + text + b"\n0 fine\n")
    with pytest.raises(DataError, match=message):
        read_examples(path, num_classes=1, encoding="utf-8")


def test_only_line_feed_ends_a_line(tmp_path) -> None:
    # Unicode counts NEL (0x85), form feed and others as line ends; here they belong to the text.
    path = write(tmp_path, b"0 one\xc2\x85two\n0 three\x0cfour\n0 \xc2\x85\n")
    expected = examples(("one\x85two", 0), ("three\x0cfour", 0), ("\x85", 0))
    assert read_examples(path, num_classes=1) == expected
    path = write(tmp_path, b"0 one\x85two\n0 three\x0cfour\n0 \x85\n")
    assert read_examples(path, num_classes=1, encoding="latin-1") == expected
    assert read_examples(path, num_classes=1) == examples(("one…two", 0), ("three\x0cfour", 0), ("…", 0))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"a \x96 b \x91c\x92 \x93d\x94 \x97 e\x85", "a – b ‘c’ “d” — e…"),
        (b"caf\xe9", "café"),
        (b"souffl\xe9 \x96 \x80", "soufflé – €"),
        ("soufflé – €".encode(), "soufflé – €"),
        ("\x80".encode(), "\x80"),
        # The five bytes that Windows-1252 leaves undefined.
        (b"\x81 \x8d \x8f \x90 \x9d", "\x81 \x8d \x8f \x90 \x9d"),
    ],
)
def test_lines_in_several_encodings_are_read_as_what_each_is(tmp_path, line, text) -> None:
    path = write(tmp_path, b"0 caf\xe9\n0 " + line + b"\n0 caf\xc3\xa9\n")
    assert read_examples(path, num_classes=1) == examples(("café", 0), (text, 0), ("café", 0))


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(blacklist_characters="\n\0", blacklist_categories=["Cs"])),
            st.integers(0, 9),
        ),
        min_size=1,
    )
)
def test_written_values_are_read_back(tmp_path_factory, examples) -> None:
    content = "".join(f"{label} {text}\n" for text, label in examples).encode()
    path = write(tmp_path_factory.mktemp("laws"), content)
    read = read_examples(path, num_classes=10, num_lines=len(examples))
    assert read == [Example(text.strip(" \t\r\x0b\x0c"), label) for text, label in examples]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", r"x\.all:2: expected 'LABEL text', got an empty line"),
        (b"good film", r"x\.all:2: expected a label from 0 to 1 and a space, got 'good'"),
        (b"2 good film", r"x\.all:2: expected a label from 0 to 1 and a space, got '2'"),
        (b"-1 good film", r"x\.all:2: expected a label from 0 to 1 and a space, got '-1'"),
        (b"1.0 good film", r"x\.all:2: expected a label from 0 to 1 and a space, got '1\.0'"),
        (b"1\tgood film", r"x\.all:2: expected a label from 0 to 1 and a space, got '1\\tgood'"),
        (b"1" * 5000 + b" good film", r"x\.all:2: expected a label from 0 to 1 and a space, got '1{40}'"),
        (b"1 good\0film", r"x\.all:2: expected text in UTF-8 or latin-1, got a NUL byte"),
        ("1 film".encode("utf-16"), r"x\.all:2: expected text in UTF-8 or latin-1, got a NUL byte"),
    ],
)
def test_a_wrong_line_is_an_error_with_its_number(tmp_path, line, message) -> None:
    with pytest.raises(DataError, match=message):
        read_examples(write(tmp_path, b"0 fine\n" + line + b"\n1 fine\n"), num_classes=2)


def test_a_byte_order_mark_is_passed_over_and_utf16_refused(tmp_path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf0 one\n1 two\n")
    assert read_examples(path, num_classes=2) == examples(("one", 0), ("two", 1))
    with pytest.raises(DataError, match=r"x\.all: expected text in UTF-8, got UTF-16; convert it"):
        read_examples(write(tmp_path, "0 one\n".encode("utf-16")), num_classes=2)


@pytest.mark.parametrize("sentence", [b"x" * 50_000_000, b"a " * 1_000_000])
def test_a_sentence_of_no_sensible_length_is_an_error(tmp_path, sentence) -> None:
    path = write(tmp_path, b"0 fine\n1 " + sentence + b"\n")
    with pytest.raises(DataError, match=r"x\.all:2: expected a sentence of at most 65,536 bytes, got one of"):
        read_examples(path, num_classes=2)


def test_a_missing_file_is_an_error(tmp_path) -> None:
    with pytest.raises(
        DataError, match=r"none\.all: expected a readable file, got: No such file or directory"
    ):
        read_examples(tmp_path / "none.all", num_classes=2)
