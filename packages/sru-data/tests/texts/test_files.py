from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.texts import TextSource
from sru_data.texts.files import MemoryText, TextFile

CONTENT = b"".join(b"line %d of some text\n" % i for i in range(5000))
COMPRESS = {"x.xz": lzma.compress, "x.gz": gzip.compress, "x.bz2": bz2.compress, "x.txt": bytes}


def read(part: TextFile | MemoryText) -> bytes:
    return b"".join(part.chunks())


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


WRITE_ARCHIVE = {"x.zip": write_zip, "x.tgz": write_tar, "x.tar.gz": write_tar, "x.tar": write_tar}
MEMBERS = {"set/b.txt": b"of b\n", "set/a.txt": CONTENT, "set/c.txt": b"of c\n", "README": b"none of it\n"}


@pytest.mark.parametrize("name", COMPRESS)
def test_a_compressed_file_is_read_as_its_content(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(COMPRESS[name](CONTENT))
    part = TextFile.at(tmp_path / name)
    assert read(part) == CONTENT
    assert part.size == (len(CONTENT) if name == "x.txt" else None)


@pytest.mark.parametrize("name", COMPRESS)
@given(ends=st.tuples(st.integers(0, 120), st.integers(0, 120)).map(sorted), chunk=st.integers(1, 200))
def test_a_range_of_bytes_is_that_of_the_content(tmp_path_factory, name, ends, chunk) -> None:
    start, end = ends
    path = tmp_path_factory.mktemp("range") / name
    path.write_bytes(COMPRESS[name](CONTENT[:120]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sru_data.texts.files.CHUNK_BYTES", chunk)
        part = TextFile.at(path).between(start, end)
        assert read(part) == CONTENT[start:end]
        assert part.size == end - start
        assert part.origin == start
        inner = part.between(min(1, end - start), end - start)
        assert read(inner) == CONTENT[start:end][1:]
        assert read(MemoryText("x", CONTENT).between(start, end)) == CONTENT[start:end]


@pytest.mark.parametrize("name", WRITE_ARCHIVE)
def test_a_member_of_an_archive_is_read(tmp_path, name) -> None:
    path = WRITE_ARCHIVE[name](tmp_path / name, MEMBERS)
    part = TextFile.at(path, member="set/a.txt")
    assert read(part) == CONTENT
    assert read(part.between(3, 100)) == CONTENT[3:100]
    assert part.size == (len(CONTENT) if name == "x.zip" else None)
    assert part.place == f"{path} (set/a.txt)"


@pytest.mark.parametrize("name", WRITE_ARCHIVE)
def test_members_that_fit_a_pattern_follow_in_the_archives_order(tmp_path, name) -> None:
    path = WRITE_ARCHIVE[name](tmp_path / name, MEMBERS)
    part = TextFile.at(path, member="set/*.txt")
    assert read(part) == b"of b\n" + CONTENT + b"of c\n"
    assert read(part.between(2, 7)) == b" b\nli"


@pytest.mark.parametrize("name", WRITE_ARCHIVE)
def test_an_archive_without_the_member_is_an_error(tmp_path, name) -> None:
    path = WRITE_ARCHIVE[name](tmp_path / name, MEMBERS)
    with pytest.raises(DataError, match=r"expected the member set/d\.txt in the archive, got none"):
        read(TextFile.at(path, member="set/d.txt"))


@pytest.mark.parametrize("name", ["x.xz", "x.gz", "x.bz2", *WRITE_ARCHIVE])
def test_a_file_cut_short_is_an_error(tmp_path, name) -> None:
    path = tmp_path / name
    if name in COMPRESS:
        path.write_bytes(COMPRESS[name](CONTENT))
    else:
        WRITE_ARCHIVE[name](path, MEMBERS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        DataError, match=r"x\..*: expected a complete file, got: .*; it is damaged or truncated"
    ):
        read(TextFile.at(path, member=None if name in COMPRESS else "set/*"))


@pytest.mark.parametrize("name", ["x.xz", "x.gz", "x.bz2", "x.zip", "x.tgz"])
def test_a_file_that_is_not_what_its_name_says_is_an_error(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(b"plain text\n" * 100)
    with pytest.raises(DataError, match=rf"{name}.*: expected a complete file, got: .*download it again"):
        read(TextFile.at(tmp_path / name))


def test_no_bytes_of_an_empty_file_are_no_error(tmp_path) -> None:
    (tmp_path / "x").touch()
    assert read(TextFile.at(tmp_path / "x").between(0, 0)) == b""


def test_a_file_that_became_shorter_than_its_range_is_an_error(tmp_path) -> None:
    (tmp_path / "x").write_bytes(b"123456")
    part = TextFile.at(tmp_path / "x").between(2, 6)
    (tmp_path / "x").write_bytes(b"1234")
    with pytest.raises(
        DataError, match=r"x: expected at least 6 bytes, got 4; the file was changed or truncated"
    ):
        read(part)


@pytest.mark.parametrize(("name", "found"), [("x", "no such file"), (".", "a folder")])
def test_only_a_file_that_exists_can_be_named(tmp_path, name, found) -> None:
    with pytest.raises(DataError, match=rf": expected a text file, got {found}"):
        TextFile.at(tmp_path / name)


@pytest.mark.parametrize("use", [TextFile.identity, read, lambda part: part.size])
def test_a_file_that_has_gone_is_an_error(tmp_path, use) -> None:
    (tmp_path / "x").touch()
    part = TextFile.at(tmp_path / "x")
    (tmp_path / "x").unlink()
    with pytest.raises(DataError, match=r"x: expected a readable file, got: No such file or directory$"):
        use(part)


def test_a_file_that_may_not_be_read_is_an_error(tmp_path, monkeypatch) -> None:
    (tmp_path / "x").write_bytes(b"secret")
    part = TextFile.at(tmp_path / "x")
    refuse = mock.Mock(side_effect=PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"x: expected a readable file, got: Permission denied$"):
        read(part)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1),
    st.booleans(),
    st.integers(1, 99),
)
def test_json_lines_become_texts_with_a_line_feed_each(tmp_path_factory, texts, escape, chunk) -> None:
    path = tmp_path_factory.mktemp("json") / "x.jsonl.gz"
    lines = [json.dumps({"id": 1, "body": text}, ensure_ascii=escape) for text in texts]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sru_data.texts.files.CHUNK_BYTES", chunk)
        assert read(TextFile.at(path, text_field="body")).decode() == "".join(f"{text}\n" for text in texts)


def test_empty_lines_between_json_lines_say_nothing(tmp_path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'\n{"text": "a"}\n \r\n{"text": "b"}\r\n\n')
    assert read(TextFile.at(tmp_path / "x.jsonl")) == b"a\nb\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", r"got something else \(Expecting property name"),
        (b'{"text": "\xff"}', r"got something else \('utf-8' codec can't decode byte 0xff"),
        (b'{"text": "\\ud800"}', r"got something else \('utf-8' codec can't encode"),
        (
            b'{"body": "x", "id": 1}',
            r"the field 'text', got only the fields body, id; choose one with",
        ),
        (b"{}", r"got only the fields \(none\)"),
        (b'{"text": 1}', r"got another type of value"),
        (b'["text"]', r"got another type of value"),
        (b"plain text", r"got something else \(Expecting value"),
        (b"[" * 100_000, r"got something else \(maximum recursion depth"),
    ],
)
def test_a_bad_json_line_is_an_error_with_its_number(tmp_path, line, message) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' * 3 + line + b'\n{"text": "fine"}\n')
    with pytest.raises(DataError, match=rf"x\.jsonl:7: expected a JSON object .*{message}"):
        read(TextFile.at(path))


def test_the_line_number_counts_from_the_beginning_of_the_file(tmp_path) -> None:
    path = tmp_path / "x.jsonl.xz"
    path.write_bytes(lzma.compress(b'{"text": "fine"}\n' * 4 + b"{\n"))
    _, second = TextSource.from_files(path).split((0.5, 0.5))
    with pytest.raises(DataError, match=r"x\.jsonl\.xz:5: expected a JSON object"):
        list(second.blocks())


@pytest.mark.parametrize("name", WRITE_ARCHIVE)
def test_an_archive_without_a_member_is_all_of_its_members(tmp_path, name) -> None:
    part = TextFile.at(WRITE_ARCHIVE[name](tmp_path / name, MEMBERS))
    whole = b"".join(MEMBERS.values())
    assert read(part) == whole
    assert read(part.between(7, len(whole) - 3)) == whole[7:-3]
