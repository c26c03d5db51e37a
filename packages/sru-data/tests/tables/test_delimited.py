from __future__ import annotations

import csv
import io

import pytest

from sru_data import DataError
from sru_data.tables import comma_separated, open_table


def rows(path, *columns: str) -> list[tuple[str, ...]]:
    return [row.values for row in open_table(path).rows(columns or ["text", "label"])]


def test_quoted_fields_hold_delimiters_line_ends_and_quotes(tmp_path) -> None:
    (tmp_path / "mail.csv").write_bytes(b'text,label\r\n"a ""b"", c\r\nd",x\r\n5" disk,y\r\n')
    table = open_table(tmp_path / "mail.csv")
    assert table.columns == ["text", "label"]
    found = list(table.rows(["label", "text"]))
    assert [row.values for row in found] == [("x", 'a "b", c\r\nd'), ("y", '5" disk')]
    assert [row.place for row in found] == [f"{tmp_path}/mail.csv:2", f"{tmp_path}/mail.csv:4"]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("text;label", ["text", "label"]),
        ("id;text, as sent;label", ["id", "text, as sent", "label"]),
        ('"a;b",label', ["a;b", "label"]),
        ('"text";"a,b"', ["text", "a,b"]),
        ("text", ["text"]),
        (" text , label ", ["text", "label"]),
    ],
)
def test_the_delimiter_is_what_gives_the_header_more_columns(tmp_path, header, columns) -> None:
    (tmp_path / "x.csv").write_text(f"{header}\n")
    assert open_table(tmp_path / "x.csv").columns == columns


def test_a_delimiter_may_be_given(tmp_path) -> None:
    (tmp_path / "x.csv").write_text('text|a,b,c\n"1|2"|3\n')
    assert [row.values for row in open_table(tmp_path / "x.csv", delimiter="|").rows(["text"])] == [("1|2",)]


def test_a_blank_line_is_no_row_and_an_empty_field_is(tmp_path) -> None:
    (tmp_path / "x.csv").write_text('\ntext,label\n\na,x\n  \n,y\n"",z\n\n')
    assert [(row.line, *row.values) for row in open_table(tmp_path / "x.csv").rows(["text", "label"])] == [
        (4, "a", "x"),
        (6, "", "y"),
        (7, "", "z"),
    ]
    (tmp_path / "one.csv").write_text('text\na\n\n""\n  \n')
    assert rows(tmp_path / "one.csv", "text") == [("a",), ("",), ("  ",)]


def test_a_tsv_is_never_quoted(tmp_path) -> None:
    (tmp_path / "x.tsv").write_bytes(b'text\tlabel\r\n"Alas,\tx\r\n\r\n\ty\r\n')
    assert rows(tmp_path / "x.tsv") == [('"Alas,', "x"), ("", "y")]


def test_another_encoding_may_be_named(tmp_path) -> None:
    (tmp_path / "x.csv").write_bytes("text,label\n“naïve”,é\n".encode("cp1252"))
    table = open_table(tmp_path / "x.csv", encoding="cp1252")
    assert [row.values for row in table.rows(["text", "label"])] == [("“naïve”", "é")]
    out = io.BytesIO()
    table.copy_with(out, [{"n": "ü"}], columns=["n"])
    assert out.getvalue() == "text,label,n\n“naïve”,é,ü\n".encode("cp1252")
    with pytest.raises(
        DataError, match=r"x\.csv:2: expected to add text that cp1252 can encode, got '中'; convert"
    ):
        table.copy_with(io.BytesIO(), [{"n": "中"}], columns=["n"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x\.csv: expected a first line that names the columns, got an empty file"),
        (b"\xef\xbb\xbf\n\n", r"x\.csv: expected a first line that names the columns, got an empty file"),
        (b"Text,label\n", r"x\.csv:1: expected a column 'text', .*'Text', 'label'; did you mean 'Text'\?"),
        (b"body,label\n", r"got a CSV file with the columns 'body', 'label'; choose one of these$"),
        (b"text\tlabel\n", r"expected a column 'text', got a CSV file with the column 'text\\tlabel'"),
        (b"text,label,text\n", r"x\.csv:1: expected one column 'text', got 2; rename the others"),
        (b"text,label\na,b\nc\n", r"x\.csv:3: expected 2 fields as in the first line, got 1; quote fields"),
        (b'text,label\n"a\nb",c,d\n', r"x\.csv:2: expected 2 fields as in the first line, got 3"),
        (b'text,label\na,b\n\nc,"d\nx\n', r"x\.csv:4: expected a closing quote within"),
        (b'text,label\na,b\n"""c,d\n', r"x\.csv:3: expected a closing quote within"),
        (
            b'text,label\n"a\nb","c\nd,"e"\n',
            r"x\.csv:3: expected ',' or a line end after the quoted .* got 'e' on line 4; close its quotes",
        ),
        (b'text,label\n"a"b,c\n', r"x\.csv:2: expected ',' or a line end .* got 'b' on line 2"),
        (
            b"text,label\ra,b\r",
            r"x\.csv:1: expected lines that end in \\n or \\r\\n, got a \\r within a line",
        ),
        (b"text,label\na\0b,c\n", r"x\.csv:2: expected text, got a NUL byte; convert the file"),
        (
            b"text,label\na,b\nn\xe9e,c\n",
            r"x\.csv:3: expected text in utf-8, got the byte 0xe9 at byte 1 .*; "
            "convert the file, as with `iconv -f CP1252 -t UTF-8`, or set `encoding` where that is an option",
        ),
        (
            "text,label\na,b\n".encode("utf-16"),
            r"x\.csv: expected text in UTF-8, got UTF-16; convert",
        ),
        ("text,label\na,b\n".encode("utf-16-le"), r"x\.csv:1: expected text, got a NUL byte"),
    ],
)
def test_a_malformed_csv_is_an_error_that_names_the_line(tmp_path, content, message) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        rows(tmp_path / "x.csv")


def test_quotes_that_never_close_do_not_fill_the_memory(tmp_path, monkeypatch) -> None:
    limit = csv.field_size_limit()
    (tmp_path / "x.csv").write_bytes(b'text,label\na,b\n"c,d\n' + b"e,f\n" * 100_000)
    with pytest.raises(DataError, match=r"x\.csv:3: expected a closing quote within 131,072"):
        rows(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_bytes(b"text,label\n" + b"e" * 200_000 + b",f\n")
    with pytest.raises(
        DataError, match=r"x\.csv:2: expected a field of at most 131,072 characters, got a longer"
    ):
        rows(tmp_path / "x.csv")
    monkeypatch.setattr(comma_separated, "MAX_LINE_BYTES", 1000)
    (tmp_path / "x.csv").write_bytes(b"text,label\n" + b'"a\n",' * 1000)
    with pytest.raises(
        DataError, match=r"x\.csv:2: expected a record of at most 1,000 characters, got a longer"
    ):
        rows(tmp_path / "x.csv")
    assert csv.field_size_limit() == limit


def test_a_malformed_tsv_is_an_error_that_names_the_line(tmp_path) -> None:
    (tmp_path / "x.tsv").write_text("text\tlabel\na\tb\tc\n")
    with pytest.raises(
        DataError, match=r"x\.tsv:2: expected 2 fields .* got 3; remove tabs .* kind 'csv' with the"
    ):
        rows(tmp_path / "x.tsv")
    (tmp_path / "x.tsv").write_text("text\tlabel\n" + "a" * (1 << 20) + "b\tc\n")
    with pytest.raises(
        DataError, match=r"x\.tsv:2: expected at most 1,048,576 bytes in 'a field', got 1,048,577"
    ):
        rows(tmp_path / "x.tsv")


def test_every_byte_of_a_row_and_every_blank_line_stays_in_a_copy(tmp_path) -> None:
    (tmp_path / "x.csv").write_bytes(b'"text";n\r\n\r\n"a;""b""\r\nc";1\r\n\r\nd;"2"')
    table = open_table(tmp_path / "x.csv")
    out = io.BytesIO()
    names = table.copy_with(out, [{"n": "x;y"}, {"n": 0.5}], columns=["n"])
    assert names == ["n_2"]
    assert out.getvalue() == b'"text";n;n_2\r\n\r\n"a;""b""\r\nc";1;"x;y"\r\n\r\nd;"2";0.5\r\n'
    (tmp_path / "x.tsv").write_bytes(b"text\tlabel\n\na\tb")
    open_table(tmp_path / "x.tsv").copy_with(tmp_path / "y.tsv", [{"n": "1\t2\n3"}], columns=["n"])
    assert (tmp_path / "y.tsv").read_bytes() == b"text\tlabel\tn\n\na\tb\t1 2 3\n"


@pytest.mark.parametrize(("mark", "end"), [("sep=|", "\r\n"), ("SEP=|", "\n"), ("\ufeffsep=|", "\r\n")])
def test_a_first_line_may_name_the_delimiter_as_excel_has_it(tmp_path, mark, end) -> None:
    content = end.join([mark, "text|label,n", "a,b|x", ""])
    (tmp_path / "x.csv").write_bytes(content.encode())
    table = open_table(tmp_path / "x.csv")
    assert table.columns == ["text", "label,n"]
    assert [(row.line, *row.values) for row in table.rows(["text", "label,n"])] == [(3, "a,b", "x")]
    table.copy_with(tmp_path / "y.csv", [{"new": "1|2"}], columns=["new"])
    copied = end.join([mark.removeprefix("\ufeff"), "text|label,n|new", 'a,b|x|"1|2"', ""])
    assert (tmp_path / "y.csv").read_bytes().removeprefix(b"\xef\xbb\xbf") == copied.encode()


def test_only_the_whole_first_line_names_the_delimiter(tmp_path) -> None:
    (tmp_path / "x.csv").write_text("sep=;,text\na,b\nsep=;,c\n")
    assert rows(tmp_path / "x.csv", "text") == [("b",), ("c",)]
