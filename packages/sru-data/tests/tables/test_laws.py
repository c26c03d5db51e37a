"""Written tables are read back unchanged, and a copy matches its table row by row."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data.tables import open_table

NAMES = ("text", "label", "a b")
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)
FIELD = st.one_of(TEXT, st.sampled_from(['"', '""', "a,b;c", "a\r\nb", "\n", "\t", " x ", "\x85", "\ufeff"]))
ROWS = st.lists(st.tuples(FIELD, FIELD, FIELD), max_size=6)
ADDED = st.one_of(FIELD, st.none(), st.booleans(), st.integers(-9, 9), st.floats(-1, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("laws")


def as_csv(rows, delimiter=",", quoting=csv.QUOTE_MINIMAL, end="\r\n") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([NAMES, *rows])
    return text.getvalue().encode()


def rows_of(path: Path, columns=NAMES, **options) -> list[tuple[str, ...]]:
    return [row.values for row in open_table(path, **options).rows(columns)]


@settings(max_examples=40)
@given(ROWS, st.sampled_from(",;"), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), st.booleans())
def test_what_csv_writes_is_read_back(folder, rows, delimiter, quoting, marked) -> None:
    content = as_csv(rows, delimiter, quoting)
    (folder / "x.csv").write_bytes(b"\xef\xbb\xbf" * marked + content)
    assert rows_of(folder / "x.csv") == rows
    lines = [row.line for row in open_table(folder / "x.csv").rows(["text"])]
    before = itertools.accumulate(
        (as_csv([row], delimiter, quoting).count(b"\n") - 1 for row in rows), initial=2
    )
    assert lines == list(before)[:-1]


@settings(max_examples=40)
@given(ROWS, st.lists(st.tuples(ADDED, ADDED), min_size=6, max_size=6))
def test_a_copy_joins_with_its_table(folder, rows, added) -> None:
    added = added[: len(rows)]
    lines = [tuple(" ".join(field.split()) or "-" for field in row) for row in rows]
    tables = {
        "x.csv": as_csv(rows),
        "x.csv.gz": gzip.compress(as_csv(rows, ";")),
        "x.tsv": "".join("\t".join(row) + "\n" for row in [NAMES, *lines]).encode(),
        "x.jsonl": "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in rows).encode(),
    }
    for name, content in tables.items():
        if not rows and name == "x.jsonl":
            continue
        (folder / name).write_bytes(content)
        table = open_table(folder / name)
        out = io.BytesIO()
        names = table.copy_with(
            out,
            ({"label": one, "new": other} for one, other in added),
            columns=["label", "new"],
        )
        assert names == ["label_2", "new"]
        (folder / f"copy-{name.removesuffix('.gz')}").write_bytes(out.getvalue())
        copy = open_table(folder / f"copy-{name.removesuffix('.gz')}")
        assert copy.columns == [*NAMES, *names]
        assert [row.values for row in copy.rows(NAMES)] == [row.values for row in table.rows(NAMES)]
        if name == "x.jsonl":
            read = [json.loads(line) for line in out.getvalue().split(b"\n")[:-1]]
            assert [(record["label_2"], record["new"]) for record in read] == added
        elif name != "x.tsv":
            found = [row.values for row in copy.rows(names)]
            assert [tuple(map(written, values)) for values in added] == found


def written(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\n")), max_size=6))
def test_lines_of_text_become_a_csv(folder, texts) -> None:
    (folder / "x.txt").write_bytes("".join(f"{text}\n" for text in ["first", *texts]).encode())
    texts = ["first", *(text.removesuffix("\r") for text in texts)]
    assert rows_of(folder / "x.txt", ["text"]) == [(text,) for text in texts]
    table = open_table(folder / "x.txt")
    table.copy_with(folder / "x.csv", ({"n": n} for n in range(len(texts))), columns=["n"])
    copied = rows_of(folder / "x.csv", ["text", "n"])
    assert copied == [(text, str(n)) for n, (text,) in enumerate(rows_of(folder / "x.txt", ["text"]))]


@settings(max_examples=15)
@given(ROWS, st.lists(ADDED, min_size=6, max_size=6))
def test_a_copy_of_parquet_joins_with_its_table(folder, rows, added) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        name: pyarrow.array([row[n] for row in rows], pyarrow.string()) for n, name in enumerate(NAMES)
    }
    parquet.write_table(pyarrow.table(columns), folder / "x.parquet", row_group_size=2)
    assert rows_of(folder / "x.parquet") == rows
    table, added = (
        open_table(folder / "x.parquet"),
        [None if v is None else written(v) for v in added[: len(rows)]],
    )
    assert table.copy_with(folder / "y.parquet", ({"label": v} for v in added), columns=["label"]) == [
        "label_2"
    ]
    assert rows_of(folder / "y.parquet") == rows
    assert parquet.read_table(folder / "y.parquet").column("label_2").to_pylist() == added


@settings(max_examples=15)
@given(st.dictionaries(st.sampled_from(["a", "b", "c.txt", "d"]), TEXT, min_size=1), ADDED)
def test_a_copy_of_a_folder_joins_with_its_texts(tmp_path_factory, texts, value) -> None:
    folder = tmp_path_factory.mktemp("folder")
    for label in ("ham", "spam"):
        (folder / "in" / label).mkdir(parents=True)
        for name, text in texts.items():
            (folder / "in" / label / name).write_bytes(text.encode())
    table = open_table(folder / "in")
    expected = [
        (text.removeprefix("\ufeff").removesuffix("\n").removesuffix("\r"), label, f"{label}/{name}")
        for label in ("ham", "spam")
        for name, text in sorted(texts.items())
    ]
    assert [row.values for row in table.rows(table.columns)] == expected
    table.copy_with(folder / "out.csv", [{"new": value}] * len(expected), columns=["new"])
    assert rows_of(folder / "out.csv", [*table.columns, "new"]) == [
        (*row, written(value)) for row in expected
    ]
