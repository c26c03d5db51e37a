"""JSON lines, lines of text, folders of texts and Parquet."""

from __future__ import annotations

import io
import json
import sys

import pytest

from sru_data import DataError
from sru_data.tables import MAX_FIELD_BYTES, open_table


def rows(path, *columns: str, **options) -> list[tuple[str, ...]]:
    return [row.values for row in open_table(path).rows(columns or ["text", "label"], **options)]


def test_values_of_json_are_written_as_text(tmp_path) -> None:
    values = [("a", 1), (None, 1.0), ("é", -2.5), ("", None), ("b", 1e20)]
    lines = [json.dumps({"text": text, "label": label}) for text, label in values]
    (tmp_path / "x.jsonl").write_text("\n\n".join(lines))
    labels = ["1", "1", "-2.5", "", "100000000000000000000"]
    assert rows(tmp_path / "x.jsonl") == [
        (text or "", label) for (text, _), label in zip(values, labels, strict=True)
    ]
    assert [row.line for row in open_table(tmp_path / "x.jsonl").rows([])] == [1, 3, 5, 7, 9]
    (tmp_path / "x.jsonl").write_text('{"text": NaN}')
    assert rows(tmp_path / "x.jsonl", "text") == [("",)]
    (tmp_path / "x.jsonl").write_text('{"text": true}\n{"text": false}\n')
    assert rows(tmp_path / "x.jsonl", "text") == [("true",), ("false",)]


def test_fields_of_nested_objects_are_named_with_dots(tmp_path) -> None:
    (tmp_path / "x.json").write_text(
        '{"mail": {"body": "a", "to": {"x": 1}, "c.d": 2}, "a.b": 3, "e": {}}\n'
        '{"mail": null, "a.b": 4, "e": null}\n'
    )
    table = open_table(tmp_path / "x.json")
    assert table.columns == ["mail.body", "mail.to.x", "mail.c.d", "a.b", "e"]
    assert rows(tmp_path / "x.json", *table.columns[:4]) == [("a", "1", "2", "3"), ("", "", "", "4")]


def test_columns_are_named_to_a_depth_of_twenty(tmp_path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a":' * 300 + "1" + "}" * 300)
    assert open_table(tmp_path / "x.jsonl").columns == [".".join("a" * 20)]


def test_a_list_is_joined_if_a_separator_is_given(tmp_path) -> None:
    (tmp_path / "x.jsonl").write_text('{"label": ["a", "b"]}\n{"label": []}\n{"label": ["c|d"]}\n')
    found = open_table(tmp_path / "x.jsonl").rows(["label"], list_separator="|")
    assert [next(found).values, next(found).values] == [("a|b",), ("",)]
    with pytest.raises(
        DataError, match=r"x\.jsonl:3: expected items of 'label' that are not empty and do not contain '\|'"
    ):
        next(found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n", r"x\.jsonl: expected a JSON object per line, got an empty file"),
        (
            "a,b",
            r"x\.jsonl:1: expected a JSON object, got something that is not JSON: Expecting value",
        ),
        ("{\n", r"x\.jsonl:1: .* not JSON: .*; write each object on its own line, as `jq -c` does"),
        ('[{"text": 1},\n 2]', r"x\.jsonl:2: expected a JSON object, got 2$"),
        ("[[]]", r"x\.jsonl:1: expected a JSON object, got \[\]$"),
        ('[{"text": 1}', r"x\.jsonl:1: expected a JSON array that ends in '\]'"),
        (
            '{"texts": 1}',
            r"x\.jsonl:1: expected a column 'text', .* with the column 'texts'; did you mean 'texts'",
        ),
        (
            '{"text": "a"}\n{"b": 1}',
            r"x\.jsonl:2: expected a field 'text' as in the first line, got the fields 'b'",
        ),
        (
            '{"text": "a"}\n{"text": 1}',
            r"x\.jsonl:2: expected 'text' to be text as in .*x\.jsonl:1, got a number: 1;",
        ),
        (
            '{"text": 1}\n{"text": true}',
            r"x\.jsonl:2: expected 'text' to be a number as in .* got a boolean: True",
        ),
        ('{"text": ["a"]}', r"x\.jsonl:1: expected 'text' to be text or a number, got \['a'\]"),
        ('{"text": "a\\ud800"}', r"x\.jsonl:1: expected 'text' to be text, got half of a surrogate pair"),
        (
            f'{{"text": "{"é" * 600_000}"}}',
            r"x\.jsonl:1: expected at most 1,048,576 bytes in 'text', got 1,200,000",
        ),
        (f'{{"text": {"[" * 100_000}', r"x\.jsonl:1: expected a JSON object, got something that is not JSON"),
    ],
)
def test_malformed_json_lines_are_an_error_that_names_the_line(tmp_path, content, message) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        rows(tmp_path / "x.jsonl", "text")
    assert len(str(caught.value)) < 700


def test_a_copy_of_json_lines_keeps_what_was_written(tmp_path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"text": "\\u00e9", "n": 1.10 }\r\n\n{"n": 2, "text": ""}')
    out = io.BytesIO()
    added = [{"label": "é", "all": {"a": 0.5}}, {"label": None, "all": [1]}]
    assert open_table(tmp_path / "x.jsonl").copy_with(out, added, columns=["label", "all"]) == [
        "label",
        "all",
    ]
    assert out.getvalue() == (
        b'{"text": "\\u00e9", "n": 1.10, "label": "\\u00e9", "all": {"a": 0.5}}\n\n'
        b'{"n": 2, "text": "", "label": null, "all": [1]}\n'
    )
    (tmp_path / "x.jsonl").write_text('{}\n{"label": 1}\n')
    with pytest.raises(
        DataError, match=r"x\.jsonl:2: expected no field 'label', .* is missing from the first line"
    ):
        open_table(tmp_path / "x.jsonl").copy_with(out, [{"label": 1}] * 2, columns=["label"])


def test_an_array_of_objects_is_read_too_and_becomes_json_lines(tmp_path) -> None:
    (tmp_path / "x.json").write_text('[\n  {"text": "[é]",\n   "label": 1},\n  {"text": null, "label": 2}]\n')
    found = list(open_table(tmp_path / "x.json").rows(["text", "label"]))
    assert [(row.line, *row.values) for row in found] == [(2, "[é]", "1"), (4, "", "2")]
    out = io.BytesIO()
    open_table(tmp_path / "x.json").copy_with(out, [{"n": 1}, {"n": 2}], columns=["n"])
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"text": "[é]", "label": 1, "n": 1},
        {"text": None, "label": 2, "n": 2},
    ]


def test_every_line_of_a_text_is_a_row(tmp_path) -> None:
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfa, b\n\n  c\r\n\x0c\xc2\x85\nlast")
    assert rows(tmp_path / "x.txt", "text") == [("a, b",), ("",), ("  c",), ("\x0c\x85",), ("last",)]
    out = io.BytesIO()
    open_table(tmp_path / "x.txt").copy_with(out, [{"text": n} for n in range(5)], columns=["text"])
    assert out.getvalue().decode() == 'text,text_2\n"a, b",0\n,1\n  c,2\n\x0c\x85,3\nlast,4\n'
    with pytest.raises(
        DataError,
        match=r"x\.txt: expected a column 'label', got a text file without columns, .*; give a \.csv",
    ):
        rows(tmp_path / "x.txt")
    (tmp_path / "x.txt").write_text("a" * (MAX_FIELD_BYTES + 1))
    with pytest.raises(DataError, match=r"x\.txt:1: expected at most 1,048,576 bytes in 'text'"):
        rows(tmp_path / "x.txt", "text")


def test_a_folder_has_a_folder_per_label_and_a_file_per_text(tmp_path) -> None:
    for name, text in {
        "pos/b.txt": "two\nlines\n",
        "pos/a": "one",
        "neg/9.txt": "",
        "neg/.hidden": "x",
    }.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    (tmp_path / "in" / "README").write_text("not a text")
    with pytest.warns(UserWarning, match=r"in: files next to the label folders are ignored: README$"):
        table = open_table(tmp_path / "in")
    assert table.columns == ["text", "label", "file"]
    found = list(table.rows(["file", "label", "text"]))
    assert [row.values for row in found] == [
        ("neg/9.txt", "neg", ""),
        ("pos/a", "pos", "one"),
        ("pos/b.txt", "pos", "two\nlines"),
    ]
    assert found[0].place == f"{tmp_path}/in/neg/9.txt"
    table.copy_with(tmp_path / "out.csv", ({"n": n} for n in range(3)), columns=["n"])
    assert rows(tmp_path / "out.csv", "file", "n", "text")[2] == ("pos/b.txt", "2", "two\nlines")
    assert rows(tmp_path / "in" / "pos", "file", "text") == [("a", "one"), ("b.txt", "two\nlines")]
    with pytest.raises(
        DataError, match=r"pos: expected a column 'label', got a folder of texts, with .*'file'; give the"
    ):
        rows(tmp_path / "in" / "pos")


def test_a_folder_without_texts_is_an_error(tmp_path) -> None:
    (tmp_path / "in" / "pos").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"in/pos: expected a file per text of the label 'pos', got no file; remove"
    ):
        open_table(tmp_path / "in")
    with pytest.raises(
        DataError, match=r"pos: expected a folder per label, or a file per text, got an empty"
    ):
        open_table(tmp_path / "in" / "pos")
    with pytest.raises(
        DataError, match=r": expected a file per text of the label 'in', got folders; give /.*in$"
    ):
        open_table(tmp_path)
    (tmp_path / "in" / "pos" / "old").mkdir()
    (tmp_path / "in" / "pos" / "a.txt").write_text("a")
    with pytest.raises(DataError, match=r"pos/old: expected a file per .* label 'pos', got a folder among"):
        open_table(tmp_path / "in")
    (tmp_path / "in" / "pos" / "old").rmdir()
    (tmp_path / "in" / "pos" / "a.txt").write_bytes(b"a\nn\xe9e")
    with pytest.raises(DataError, match=r"a\.txt:2: expected text in utf-8"):
        rows(tmp_path / "in")
    (tmp_path / "in" / "pos" / "a.txt").write_bytes(b"a word\n" * 200_000)
    with pytest.raises(DataError, match=r"a\.txt: expected a text of at most 1,048,576 bytes, got more"):
        rows(tmp_path / "in")


def test_parquet_is_read_and_copied(tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"text": ["a", None, "é"], "label": [3, 4, None], "tags": [["x", "y"], [], None]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    table = open_table(tmp_path / "x.parquet")
    assert rows(tmp_path / "x.parquet") == [("a", "3"), ("", "4"), ("é", "")]
    tags = [row.values for row in table.rows(["tags"], list_separator=" ")]
    assert tags == [("x y",), ("",), ("",)]
    added = [{"label": "p", "score": 1}, {"label": None, "score": None}, {"label": [1], "score": 0.5}]
    table.copy_with(tmp_path / "y.parquet", added, columns=["label", "score"])
    copy = parquet.read_table(tmp_path / "y.parquet").to_pydict()
    assert copy == {**columns, "label_2": ["p", None, "[1]"], "score": [1.0, None, 0.5]}
    parquet.write_table(
        pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "none.parquet"
    )
    open_table(tmp_path / "none.parquet").copy_with(tmp_path / "y.parquet", [], columns=["label"])
    assert open_table(tmp_path / "y.parquet").columns == ["text", "label"]
    parquet.write_table(pyarrow.table({**columns, "label": ["a", "b", "c"]}), tmp_path / "z.parquet")
    with pytest.raises(
        DataError, match=r"z\.parquet: expected columns of the same types as in .*x\.parquet, got"
    ):
        open_table([tmp_path / "x.parquet", tmp_path / "z.parquet"]).copy_with(
            tmp_path / "y.parquet", added * 2, columns=["label", "score"]
        )
    (tmp_path / "x.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-9])
    with pytest.raises(DataError, match=r"x\.parquet: expected a complete Parquet file, got: .* damaged or"):
        rows(tmp_path / "x.parquet")


def test_a_copy_of_parquet_is_written_in_large_groups(tmp_path, monkeypatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(sys.modules["sru_data.tables.parquet"], "_ROWS_OF_A_GROUP", 500)
    parquet.write_table(pyarrow.table({"n": range(1300)}), tmp_path / "x.parquet", row_group_size=100)
    added = ({"label": None if n < 600 else str(n), "n": None if n < 9 else n / 2} for n in range(1300))
    assert open_table(tmp_path / "x.parquet").copy_with(
        tmp_path / "y.parquet", added, columns=["label", "n"]
    ) == ["label", "n_2"]
    copy = parquet.ParquetFile(tmp_path / "y.parquet")
    assert copy.metadata.num_row_groups == 3
    assert copy.read().column("label").to_pylist() == [None] * 600 + [str(n) for n in range(600, 1300)]
    assert copy.read().column("n_2").to_pylist() == [None] * 9 + [n / 2 for n in range(9, 1300)]


def test_a_missing_pyarrow_is_an_error_that_says_how_to_install_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        DataError, match=r"x\.parquet: expected the package pyarrow, .*run `pip install pyarrow`"
    ):
        open_table(tmp_path / "x.parquet")
