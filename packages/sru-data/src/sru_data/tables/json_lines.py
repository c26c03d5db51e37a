"""JSON lines: an object per line, or one array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from sru_data.errors import DataError, shortened
from sru_data.reading import decode, parse_json
from sru_data.records import read_records
from sru_data.tables.fields import FieldReader
from sru_data.tables.lines import ENCODING_REMEDY, text_lines
from sru_data.tables.table import Row, Table, next_fields
from sru_data.texts import TextFile

_MAX_SHOWN = 200
_DEEPEST_COLUMN = 20


class JsonLinesTable(Table):
    """JSON lines: the fields of the first object are the columns; every object must have those that are read.

    A file may instead hold one JSON array of objects; its copy is JSON lines. A field of a nested object is
    named with dots, as in `mail.body`, unless a field has that very name.

    Args:
        files: The files.
        encoding: Their encoding.
    """

    kind = "JSON lines"
    output_ending = ".jsonl"

    def __init__(self, files: Sequence[Path], encoding: str) -> None:
        self.encoding = encoding
        first = self._first(files[0])
        self._top_level = list(first)
        super().__init__(files, list(dict.fromkeys(_names(first))))
        for file in files[1:]:
            self._check_same_columns(file, list(dict.fromkeys(_names(self._first(file)))))

    def _check_same_columns(self, file: Path, columns: Sequence[str]) -> None:
        # The fields of an object have no order.
        super()._check_same_columns(file, self.columns if set(columns) == set(self.columns) else columns)

    def _taken_names(self) -> Sequence[str]:
        return self._top_level

    def _first(self, file: Path) -> dict[str, Any]:
        for _, _, record in self._records(file):
            if record is not None:
                return record
        raise DataError.at(file, None, "expected a JSON object per line, got an empty file")

    def _records(self, file: Path) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
        if _is_array(file):
            for number, content in read_records(file):
                text = decode(content, self.encoding, path=file, line=number, remedy=ENCODING_REMEDY)
                yield number, "", _parse(text, file, number)
            return
        for number, line in enumerate(text_lines(file, self.encoding), start=1):
            yield number, line, _parse(line, file, number) if line.strip() else None

    def _rows(self, columns: list[str], list_separator: str | None) -> Iterator[Row]:
        readers = [(column, FieldReader(column, list_separator)) for column in columns]
        for file in self.files:
            for line, _, record in self._records(file):
                if record is not None:
                    values = [
                        reader.read(_value(record, column, file, line), file, line)
                        for column, reader in readers
                    ]
                    yield Row(tuple(values), file, line)

    def _write(self, file: BinaryIO, names: list[str], added: Iterator[list[object]]) -> None:
        for source in self.files:
            for number, line, record in self._records(source):
                if record is None:
                    file.write((line if line.endswith("\n") else f"{line}\n").encode(self.encoding))
                    continue
                if taken := [name for name in names if name in record]:
                    raise DataError.at(
                        source,
                        number,
                        f"expected no field {taken[0]!r}, which will be added and is missing from the first "
                        "line, got one; rename it",
                    )
                new = json.dumps(dict(zip(names, next_fields(added), strict=True)))
                # The original text of a row is kept.
                kept = (line or json.dumps(record)).rstrip().removesuffix("}").rstrip()
                file.write(f"{kept}{', ' if record else ''}{new[1:]}\n".encode(self.encoding))


def _is_array(file: Path) -> bool:
    return next(TextFile.at(file).stored_chunks(), b"").lstrip().startswith(b"[")


def _parse(line: str, file: Path, number: int) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except ValueError as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        remedy = "; write each object on its own line, as `jq -c` does" if number == 1 else ""
        raise DataError.at(
            file, number, f"expected a JSON object, got something that is not JSON: {reason}{remedy}"
        ) from error
    if isinstance(record, dict):
        return record
    raise DataError.at(
        file, number, f"expected a JSON object, got {shortened(line.strip(), _MAX_SHOWN // 2)}"
    )


def _names(record: dict[str, Any], prefix: str = "", depth: int = 1) -> Iterator[str]:
    for key, value in record.items():
        if isinstance(value, dict) and value and depth < _DEEPEST_COLUMN:
            yield from _names(value, f"{prefix}{key}.", depth + 1)
        else:
            yield f"{prefix}{key}"


def _value(record: dict[str, Any], column: str, file: Path, line: int) -> Any:
    try:
        return _field(record, column)
    except KeyError as error:
        found = shortened(", ".join(map(repr, _names(record))) or "none", _MAX_SHOWN)
        raise DataError.at(
            file, line, f"expected a field {column!r} as in the first line, got the fields {found}"
        ) from error


def _field(record: dict[str, Any], column: str) -> Any:
    """Return the value of a field; that of a nested field is None if the outer field is."""
    if column in record:
        return record[column]
    outer, _, rest = column.partition(".")
    inner = record[outer]
    if inner is None and rest:
        return None
    if not isinstance(inner, dict):
        raise KeyError(outer)
    return _field(inner, rest)
