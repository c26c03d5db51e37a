from __future__ import annotations

import bz2
import gzip
import io
import lzma
from pathlib import Path

import pytest

from sru_data import DataError
from sru_data.tables import open_table

CSV = b"text,label\na,x\n"


def write(folder: Path, **files: bytes) -> None:
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)


def places(*paths, **options) -> list[str]:
    return [Path(row.place).name for row in open_table(*paths, **options).rows(["text"])]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("x.csv", CSV, "CSV"),
        ("x.CSV.gz", gzip.compress(CSV, mtime=0), "CSV"),
        ("x.csv.bz2", bz2.compress(CSV), "CSV"),
        ("x.tsv.xz", lzma.compress(b"text\tlabel\n"), "TSV"),
        ("x.tab", b"text\tlabel\n", "TSV"),
        ("x.ndjson", b'{"text": "a"}', "JSON lines"),
        ("x.json", b'\xef\xbb\xbf {"text": "a"}', "JSON lines"),
        ("x.txt", CSV, "text"),
        ("x", CSV, "text"),
        ("x.data", b'\n{"text": "a"}', "JSON lines"),
        ("x", b"", "text"),
    ],
)
def test_the_name_tells_the_kind_and_else_the_content(tmp_path, name, content, kind) -> None:
    (tmp_path / name).write_bytes(content)
    assert open_table(tmp_path / name).kind == kind


def test_zstandard_is_read_where_it_is_installed(tmp_path) -> None:
    zstandard = pytest.importorskip("zstandard")
    (tmp_path / "x.csv.zst").write_bytes(zstandard.compress(CSV))
    assert places(str(tmp_path / "x.csv.zst")) == ["x.csv.zst:2"]


def test_several_files_and_patterns_are_read_in_order(tmp_path) -> None:
    write(tmp_path, b_csv=CSV, a_csv=CSV * 1 + b"b,y\n", c_csv_gz=gzip.compress(CSV, mtime=0))
    assert places(f"{tmp_path}/*.csv*") == ["a.csv:2", "a.csv:3", "b.csv:2", "c.csv.gz:2"]
    assert places([tmp_path / "b.csv", tmp_path / "a.csv"]) == ["b.csv:2", "a.csv:2", "a.csv:3"]
    out = io.BytesIO()
    open_table(f"{tmp_path}/[ab].csv").copy_with(out, ({"n": n} for n in range(3)), columns=["n"])
    assert out.getvalue() == b"text,label,n\na,x,0\nb,y,1\na,x,2\n"


def test_a_kind_may_be_given(tmp_path) -> None:
    (tmp_path / "x.tsv").write_text('text\tlabel\n"a\tb"\tc\n')
    table = open_table(tmp_path / "x.tsv", kind="csv", delimiter="\t")
    assert [row.values for row in table.rows(["text"])] == [("a\tb",)]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ("no.csv", r"no\.csv: expected a file or folder, got No such file or directory"),
        ("no*.csv", r"no\*\.csv: expected files whose names match this pattern, got none"),
        (
            ["a.csv", "b.tsv"],
            r"b\.tsv: expected a file of the same kind as .*a\.csv \(csv\), got tsv; read files of",
        ),
        (
            ["a.csv", "c.csv"],
            r"c\.csv:1: expected the same columns as in .*a\.csv \(.*'text', 'label'\), got .*'a'$",
        ),
        (["d.jsonl", "e.jsonl"], r"e\.jsonl:1: expected the same columns as in .* got the columns 'b', 'c'"),
        ("f.zip", r"f\.zip: expected a file of rows, got an archive; unpack it"),
        ("/dev/null", r"/dev/null: expected a file or folder, got a device"),
        ("a\0.csv", r"expected a file or folder, got a name with a NUL byte"),
    ],
)
def test_what_cannot_be_opened_is_an_error(tmp_path, monkeypatch, paths, message) -> None:
    write(
        tmp_path,
        a_csv=CSV,
        b_tsv=CSV,
        c_csv=b"a\n",
        d_jsonl=b'{"b": 1}',
        e_jsonl=b'{"b": 1, "c": 2}',
        f_zip=b"",
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        open_table(paths)


def test_an_unknown_compression_says_what_to_install(tmp_path, monkeypatch) -> None:
    from fsspec import utils

    monkeypatch.setattr(utils, "compressions", {})
    write(tmp_path, x_csv_zst=b"")
    with pytest.raises(
        DataError, match=r"x\.csv\.zst: .* support for Zstandard, got none; run `pip install zstandard`"
    ):
        open_table(tmp_path / "x.csv.zst")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"encoding": "utf-16"},
            r"encoding must be one .* extends ASCII, .* got 'utf-16'; convert other files",
        ),
        ({"encoding": "nonsense"}, r"encoding must be one that Python supports .* got 'nonsense'"),
        ({"encoding": "hex"}, r"encoding must be one that Python supports .* got 'hex'"),
        ({"kind": "xlsx"}, r"kind must be one of csv, tsv, jsonl, txt, folder, parquet, got 'xlsx'"),
        ({"delimiter": ", "}, r"delimiter must be one ASCII character other than a quote, got ', '"),
        ({"delimiter": '"'}, r"delimiter must be one ASCII character other than a quote"),
        ({"paths": []}, r"paths must name at least one file, got none"),
    ],
)
def test_wrong_options_are_errors(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        open_table(**{"paths": "x.csv", **options})


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path) -> None:
    write(tmp_path, x_csv=CSV)
    with pytest.raises(DataError, match=r"x\.csv: expected a folder, got a file"):
        open_table(tmp_path / "x.csv", kind="folder")
    with pytest.raises(DataError, match=r": expected a file, got a folder"):
        open_table(tmp_path, kind="csv")


def test_a_copy_is_written_all_at_once(tmp_path) -> None:
    write(tmp_path, x_csv=CSV)
    table = open_table(tmp_path / "x.csv")
    table.copy_with(tmp_path / "new" / "y.csv.gz", [{"n": 1}], columns=["n"])
    assert gzip.decompress((tmp_path / "new" / "y.csv.gz").read_bytes()) == b"text,label,n\na,x,1\n"
    (tmp_path / "z.csv").write_text("before")
    for added, message in [([], "got fewer"), ([{"n": 1}] * 2, "got more")]:
        with pytest.raises(ValueError, match=rf"added must have one entry per row, {message}"):
            table.copy_with(tmp_path / "z.csv", added, columns=["n"])
        assert (tmp_path / "z.csv").read_text() == "before"
    with pytest.raises(
        DataError, match=r"x\.csv: expected an output file other than the input files, got one of them"
    ):
        table.copy_with(tmp_path / "x.csv", [{"n": 1}], columns=["n"])
    with pytest.raises(
        DataError, match=r"y\.jsonl: expected a name that ends in \.csv, since the copy of a CSV file"
    ):
        table.copy_with(tmp_path / "y.jsonl", [{"n": 1}], columns=["n"])
    assert {path.name for path in tmp_path.iterdir()} == {"x.csv", "z.csv", "new"}


def test_a_name_that_is_taken_gets_a_number(tmp_path) -> None:
    write(tmp_path, x_csv=b"label,label_2\na,b\n")
    out = io.BytesIO()
    added = [{"label": 1, "label_3": 2, "new": None}]
    names = open_table(tmp_path / "x.csv").copy_with(out, added, columns=["label", "label_3", "new"])
    assert names == ["label_3", "label_3_2", "new"]
    assert out.getvalue() == b"label,label_2,label_3,label_3_2,new\na,b,1,2,\n"
