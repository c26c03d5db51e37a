"""CSV as in RFC 4180, with a comma or a semicolon."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sru_data.errors import DataError
from sru_data.reading import MAX_LINE_BYTES
from sru_data.tables.delimited import DelimitedTable, Record
from sru_data.tables.lines import text_lines

_SNIFFED = (",", ";")
_NAMED = re.compile(r"sep=([^\r\n\"])\r?\n?", re.IGNORECASE)
"""The line before the header that tells Excel the delimiter."""
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"(?!")')


class CommaSeparatedTable(DelimitedTable):
    r"""A CSV: quoted fields may contain delimiters, line ends and doubled quotes.

    The delimiter is named by a first line such as `sep=;`, as in Excel; else it is `,` or `;`, whichever
    gives the header more columns, or a comma if neither does. A field has at most `csv.field_size_limit()`
    characters, 131,072 by default.

    Args:
        files: The files.
        encoding: Their encoding.
        delimiter: The delimiter, one character; None to detect it.
    """

    kind = "CSV"
    output_ending = ".csv"
    unequal_remedy = "quote fields that contain a delimiter or a line end"

    def __init__(self, files: Sequence[Path], encoding: str, delimiter: str | None = None) -> None:
        self.delimiter = delimiter or _delimiter(files[0], encoding)
        super().__init__(files, encoding)

    def _records(self, file: Path) -> Iterator[Record]:
        return read_records(file, self.encoding, self.delimiter)

    def _joined(self, fields: Sequence[str]) -> str:
        text = io.StringIO()
        csv.writer(text, delimiter=self.delimiter).writerow(["", *fields])
        return text.getvalue().removesuffix("\r\n")


def _delimiter(file: Path, encoding: str) -> str:
    if named := _NAMED.fullmatch(next(text_lines(file, encoding), "")):
        return named[1]

    def width(delimiter: str) -> int:
        try:
            records = read_records(file, encoding, delimiter)
            return next((len(record.fields) for record in records if record.fields), 0)
        except DataError:
            return 0

    return max(_SNIFFED, key=width)


def read_records(file: Path, encoding: str, delimiter: str) -> Iterator[Record]:
    """Yield the records of a CSV; a first line that names the delimiter has no fields.

    Args:
        file: The file.
        encoding: Its encoding.
        delimiter: The delimiter.

    Raises:
        DataError: Quotes do not close or are misplaced, or a field is too long.
    """
    pending: list[str] = []

    def lines() -> Iterator[str]:
        size = 0
        for line in text_lines(file, encoding):
            size = size + len(line) if pending else len(line)
            if size > MAX_LINE_BYTES:
                raise DataError.at(
                    file,
                    number,
                    f"expected a record of at most {MAX_LINE_BYTES:,} characters, got a longer one",
                )
            pending.append(line)
            yield line

    number = 1
    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    try:
        for fields in reader:
            raw = pending[0] if len(pending) == 1 else "".join(pending)
            if number == 1 and _NAMED.fullmatch(raw):
                fields = []
            yield Record(number, raw, fields)
            number += len(pending)
            pending.clear()
    except csv.Error as error:
        raise _explained("".join(pending), delimiter, file, number) from error


def _explained(raw: str, delimiter: str, file: Path, line: int) -> DataError:
    """Return an error that describes and locates the problem with a record that the csv module refuses."""
    place = 0
    unquoted = re.compile(rf"[^{re.escape(delimiter)}\r\n]*")
    limit = csv.field_size_limit()
    while True:
        quoted = raw.startswith('"', place)
        match = (_QUOTED if quoted else unquoted).match(raw, place)
        end = match.end() if match else len(raw)
        if match is None or end - place > limit or raw[end : end + 1] != delimiter:
            break
        place = end + 1
    line += raw.count("\n", 0, place)
    if end - place > limit and not quoted:
        return DataError.at(file, line, f"expected a field of at most {limit:,} characters, got a longer one")
    if not quoted:
        return DataError.at(
            file,
            line,
            r"expected lines that end in \n or \r\n, got a \r within a line; convert the line ends",
        )
    if match is None or end - place > limit:
        return DataError.at(
            file,
            line,
            f"expected a closing quote within {limit:,} characters of the quote that opens here, got none; "
            "close the quotes, or double a quote within a field",
        )
    return DataError.at(
        file,
        line,
        f"expected {delimiter!r} or a line end after the quoted field that begins here, got "
        f"{raw[end : end + 1]!r} on line {line + raw.count(chr(10), place, end)}; close its quotes, or "
        "double a quote within the field",
    )
