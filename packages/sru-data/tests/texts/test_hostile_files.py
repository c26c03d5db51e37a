from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import os
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from sru_data import DataError
from sru_data.texts import TextSource
from sru_data.texts.files import TextFile

MARK = codecs.BOM_UTF8
COMPRESS = {"x.txt": bytes, "x.gz": gzip.compress, "x.xz": lzma.compress, "x.bz2": bz2.compress}
TAR_MODES = {
    "x.tar": "w",
    "x.tgz": "w:gz",
    "x.taz": "w:gz",
    "x.tar.gz": "w:gz",
    "x.TAR.GZ": "w:gz",
    "x.tbz": "w:bz2",
    "x.tbz2": "w:bz2",
    "x.tar.bz2": "w:bz2",
    "x.txz": "w:xz",
    "x.tar.xz": "w:xz",
}


def read(path: Path) -> bytes:
    return b"".join(TextSource.from_files(path).blocks())


def write_archive(path: Path, *contents: bytes) -> Path:
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, content in enumerate(contents):
                archive.writestr(f"{number}.txt", content)
        return path
    with tarfile.open(path, TAR_MODES[path.name]) as archive:
        for number, content in enumerate(contents):
            entry = tarfile.TarInfo(f"{number}.txt")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", COMPRESS)
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(COMPRESS[name](MARK + b"one\ntwo\nthree\nfour\n"))
    source = TextSource.from_files(tmp_path / name)
    assert b"".join(source.blocks()) == b"one\ntwo\nthree\nfour\n"
    assert source.measure() == 19
    assert source.size in (19, None)
    first, second = source.split((0.5, 0.5))
    assert [b"".join(part.blocks()) for part in (first, second)] == [b"one\ntwo\nthree\n", b"four\n"]
    assert [block.offset for block in second.blocks()] == [14]


@pytest.mark.parametrize("name", ["x.zip", *TAR_MODES])
def test_no_member_of_an_archive_begins_with_its_byte_order_mark(tmp_path, name) -> None:
    source = TextSource.from_files(
        write_archive(tmp_path / name, MARK + b"one\n", b"two\n", MARK + b"three\n")
    )
    assert b"".join(source.blocks()) == b"one\ntwo\nthree\n"
    assert source.measure() == 14
    assert source.size == (14 if name == "x.zip" else None)
    assert [b"".join(part.blocks()) for part in source.cut([4, 9])] == [b"one\n", b"two\nt", b"hree\n"]


def test_a_mark_elsewhere_and_part_of_one_belong_to_the_text(tmp_path) -> None:
    for content in (b"one" + MARK, MARK[:2] + b"x", MARK[:1], b"\n" + MARK):
        (tmp_path / "x").write_bytes(content)
        assert read(tmp_path / "x") == content
    (tmp_path / "x").write_bytes(MARK)
    with pytest.raises(DataError, match=r"x: expected some text, got an empty one"):
        read(tmp_path / "x")


def test_json_lines_may_begin_with_a_byte_order_mark(tmp_path) -> None:
    (tmp_path / "x.jsonl").write_bytes(MARK + b'{"text": "one"}\n')
    assert read(tmp_path / "x.jsonl") == b"one\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("name", ["x.txt", "x.gz", "x.jsonl"])
def test_utf16_is_an_error_that_says_what_to_do(tmp_path, name, encoding) -> None:
    content = ("\ufeff" if encoding.endswith("be") else "") + '{"text": "one"}\n'
    (tmp_path / name).write_bytes(COMPRESS.get(name, bytes)(content.encode(encoding)))
    kind = encoding[:6].upper()
    with pytest.raises(
        DataError,
        match=rf"expected text in UTF-8, got {kind}; convert it, as with `iconv -f {kind} -t UTF-8`",
    ):
        read(tmp_path / name)


def test_the_last_json_line_may_be_long_and_lack_its_end(tmp_path) -> None:
    texts = [*(["short"] * 30), "long " * 100]
    (tmp_path / "x.jsonl").write_bytes("\n".join(json.dumps({"text": text}) for text in texts).encode())
    source = TextSource.from_files(tmp_path / "x.jsonl")
    first, second = source.split((0.3, 0.7))
    assert b"".join([*first.blocks(), *second.blocks()]).decode().split("\n") == [*texts, ""]
    with pytest.raises(
        DataError, match=r"x\.jsonl: expected a text that can be split into 3 parts, .* too few lines"
    ):
        source.split((0.9, 0.05, 0.05))


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (os.mkdir, "a folder"),
        (os.mkfifo, "a named pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
)
def test_only_a_regular_file_is_read(tmp_path, make, found) -> None:
    make(tmp_path / "x")
    with pytest.raises(DataError, match=rf"x: expected a text file, got {found}$"):
        TextFile.at(tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "found"),
    [("a\0b", "a name with a NUL byte"), ("n" * 300, "File name too long"), ("a\udcffb", "no such")],
)
def test_a_name_that_no_file_can_have_is_an_error(tmp_path, name, found) -> None:
    with pytest.raises(DataError, match=rf": expected a text file, got {found}") as caught:
        TextFile.at(tmp_path / name)
    str(caught.value).encode()


def test_a_name_that_is_not_utf8_is_as_good_as_another(tmp_path) -> None:
    (tmp_path / "a\udcffb").write_bytes(b"one \xff\n")
    source = TextSource.from_files(tmp_path / "a\udcffb")
    assert len(source.fingerprint) == 64
    with pytest.raises(DataError, match=r"a\\udcffb: expected text in utf-8, got the byte 0xff at byte 4"):
        next(source.blocks()).decode()


@pytest.mark.parametrize("name", ["x.gz", "x.zip", "x.tgz"])
@pytest.mark.parametrize(
    ("piece", "count", "message"),
    [
        (b"x", 1 << 26, r"expected a word of at most 16,777,216 bytes, got a longer one$"),
        (
            b"text\n",
            14 << 20,
            r"expected at most 100 times the compressed size, got more; decompress",
        ),
    ],
)
def test_a_bomb_is_refused_before_it_has_inflated(tmp_path, name, piece, count, message) -> None:
    if name == "x.gz":
        (tmp_path / name).write_bytes(gzip.compress(piece * count, 9))
    else:
        write_archive(tmp_path / name, piece * count)
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"{name}: {message}"):
        sum(map(len, TextSource.from_files(tmp_path / name).blocks()))
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()


def extension_header(kind: bytes, size: int) -> bytes:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("name", ["x.tar", "x.tgz"])
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_whose_name_would_take_gigabytes_is_refused(tmp_path, name, kind) -> None:
    content = extension_header(kind, 6 << 30) + b"n" * (32 << 20)
    (tmp_path / name).write_bytes(gzip.compress(content, 1) if name == "x.tgz" else content)
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"{name}: .*got: a header of more than 1,048,576 bytes"):
        read(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_tar_of_long_names_that_are_true_is_read(tmp_path) -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "x.tgz", "w:gz", format=form) as archive:
            entry = tarfile.TarInfo("long/" * 2000 + "x.txt")
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"text"))
        assert read(tmp_path / "x.tgz") == b"text"


def test_a_sparse_map_has_a_limit(tmp_path) -> None:
    header = tarfile.TarInfo("x.txt")
    header.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x.txt"}
    header.size = 8 << 30
    content = header.tobuf(tarfile.PAX_FORMAT) + b"999999999\n" + b"1\n" * (8 << 20)
    (tmp_path / "x.tgz").write_bytes(gzip.compress(content, 1))
    with pytest.raises(DataError, match=r"x\.tgz: .*got: a header of more than 1,048,576 bytes"):
        read(tmp_path / "x.tgz")


def test_a_json_line_has_a_limit(tmp_path) -> None:
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(b'{"text": "' + b"a word " * (6 << 20), 1))
    source = TextSource.from_files(tmp_path / "x.jsonl.gz")
    for use in (TextSource.measure, lambda source: list(source.blocks())):
        with pytest.raises(
            DataError, match=r"x\.jsonl\.gz: expected a line of at most 33,554,432 bytes, got a long"
        ):
            use(source)


def test_what_a_message_quotes_is_short(tmp_path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"k" * 1_000_000: 1}))
    with pytest.raises(
        DataError, match=r"x\.jsonl:1: expected a JSON object .* got only the fields kkk"
    ) as caught:
        read(tmp_path / "x.jsonl")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(("place", "value", "problem"), [(8, 1, "encrypted"), (10, 99, "not supported")])
def test_a_zip_that_python_cannot_read_is_an_error(tmp_path, place, value, problem) -> None:
    path = write_archive(tmp_path / "x.zip", b"a text\n" * 100)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\1\2")
    content[directory + place] = value
    content[place - 2] = value
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.zip: expected a complete file, got: .*{problem}"):
        read(path)


@pytest.mark.parametrize("name", ["x.zip", *TAR_MODES])
@pytest.mark.parametrize("content", [b"", b"plain text\n" * 100, bytes(1024)])
def test_an_archive_that_is_none_is_an_error(tmp_path, name, content) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"expected a complete file, got: |in the archive, got none"):
        read(tmp_path / name)
