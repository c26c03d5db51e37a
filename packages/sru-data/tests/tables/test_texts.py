from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.datasets.language_modelling import from_files
from sru_data.tables import texts

TEXT = st.text(st.characters(blacklist_characters="\0\r", blacklist_categories=["Cs"]), max_size=30)


def as_csv(rows: list[str]) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["id", "body"])
    writer.writerows(enumerate(rows))
    return file.getvalue().encode()


def whole(text) -> bytes:
    return b"".join(text.blocks())


@settings(max_examples=15)
@given(st.lists(TEXT, min_size=1, max_size=9), st.integers(1, 50), st.data())
def test_a_column_is_the_text_of_its_rows_and_so_are_its_pieces(tmp_path_factory, rows, chunk, data) -> None:
    path = tmp_path_factory.mktemp("column") / "x.csv.gz"
    path.write_bytes(gzip.compress(as_csv(rows)))
    expected = "".join(f"{row}\n" for row in rows).encode()
    column = texts.ColumnText(path, "body")
    start, end = sorted(data.draw(st.integers(0, len(expected))) for _ in range(2))
    piece = column.between(start, end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "CHUNK_BYTES", chunk)
        assert b"".join(column.chunks()) == expected
        assert b"".join(piece.chunks()) == expected[start:end]
        assert b"".join(piece.between(1, end - start).chunks()) == expected[start + 1 : end]


def test_a_column_is_split_as_the_same_lines_are(tmp_path: Path) -> None:
    rows = [f"line {number * 7919 % 1000} of it, and\nmore" for number in range(200)]
    (tmp_path / "x.csv").write_bytes(as_csv(rows))
    (tmp_path / "x.txt").write_text("".join(f"{row}\n" for row in rows))
    ours, theirs = from_files(tmp_path / "x.csv", text_field="body"), from_files(tmp_path / "x.txt")
    for part in ("train", "validation", "test"):
        assert whole(getattr(ours, part)) == whole(getattr(theirs, part)) != b""


def test_tables_and_texts_in_one_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("body\tid\none\t1\ntwo\t2\n")
    (tmp_path / "b.jsonl").write_text('{"body": "three"}\n')
    (tmp_path / "c.txt").write_text("four\n")
    corpus = from_files(tmp_path / "*.*", validation=tmp_path / "c.txt", text_field="body")
    assert whole(corpus.train) == b"one\ntwo\nthree\nfour\n"
    assert corpus.train.size is None
    assert corpus.train.measure() == len(b"one\ntwo\n" + b'{"body": "three"}\n' + b"four\n")


def test_a_parquet_column(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"body": ["one", "two\nlines"]}), tmp_path / "x.parquet")
    corpus = from_files(tmp_path / "x.parquet", validation=tmp_path / "x.parquet", text_field="body")
    assert whole(corpus.train) == b"one\ntwo\nlines\n"


def test_another_column_is_another_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,body\n" + "one,two\n" * 30)
    marks = [from_files(tmp_path / "x.csv", text_field=field).train.fingerprint for field in ("text", "body")]
    assert marks[0] != marks[1]


def test_a_missing_column_lists_those_there(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,body\n1,one\n")
    with pytest.raises(DataError, match=r"x.csv:1: expected a column 'text', got a CSV file with .* 'body'"):
        from_files(tmp_path / "x.csv")
    with pytest.raises(DataError, match=r"none.csv: expected a text file, got no such file"):
        from_files(tmp_path / "none.csv")
