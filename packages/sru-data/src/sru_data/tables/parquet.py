"""Parquet tables, using pyarrow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sru_data.errors import DataError
from sru_data.tables.fields import FieldReader, as_text
from sru_data.tables.table import Row, Table, next_fields

_ROWS_AT_ONCE = 128
"""Few, because a field may have a megabyte."""
_ROWS_OF_A_GROUP = 1 << 16
_BYTES_OF_A_GROUP = 1 << 26


class ParquetTable(Table):
    """A Parquet file, read some rows at a time.

    Args:
        files: The files.
    """

    kind = "Parquet"
    output_ending = ".parquet"

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__(files, _names(files[0]))
        for file in files[1:]:
            self._check_same_columns(file, _names(file))

    def _header_line(self) -> int | None:
        return None

    def _rows(self, columns: list[str], list_separator: str | None) -> Iterator[Row]:
        readers = [FieldReader(column, list_separator) for column in columns]
        for file in self.files:
            number = 0
            for batch in _batches(file, list(dict.fromkeys(columns))):
                fields = [batch.column(column).to_pylist() for column in columns]
                for values in zip(*fields, strict=True) if fields else [()] * batch.num_rows:
                    number += 1
                    texts = [
                        reader.read(value, file, number)
                        for reader, value in zip(readers, values, strict=True)
                    ]
                    yield Row(tuple(texts), file, number)

    def _write(self, file: BinaryIO, names: list[str], added: Iterator[list[object]]) -> None:
        _, parquet = _pyarrow(self.files[0])
        writer = None
        try:
            for columns, rows in self._groups(added):
                group = _extended(columns, names, rows, None if writer is None else writer.schema)
                writer = writer or parquet.ParquetWriter(file, group.schema)
                writer.write_table(group)
        finally:
            if writer is not None:
                writer.close()

    def _groups(self, added: Iterator[list[object]]) -> Iterator[tuple[Any, list[list[object]]]]:
        """Yield the rows with their new fields, in row groups of a suitable size; at least one."""
        pyarrow, _ = _pyarrow(self.files[0])
        with _opened(self.files[0]) as opened:
            schema = opened.schema_arrow.remove_metadata()
        batches: list[Any] = []
        rows: list[list[object]] = []
        written = False
        for source in self.files:
            for batch in _batches(source):
                if not batch.schema.equals(schema):
                    raise DataError.at(
                        source,
                        None,
                        f"expected columns of the same types as in {self.files[0]}, got other types",
                    )
                batches.append(batch)
                rows.extend(next_fields(added) for _ in range(batch.num_rows))
                if len(rows) >= _ROWS_OF_A_GROUP or sum(each.nbytes for each in batches) >= _BYTES_OF_A_GROUP:
                    yield pyarrow.Table.from_batches(batches, schema), rows
                    batches, rows, written = [], [], True
        if rows or not written:
            yield pyarrow.Table.from_batches(batches, schema), rows


def _extended(columns: Any, names: list[str], rows: list[list[object]], schema: Any) -> Any:
    """Add columns, with the types of a schema or, without one, of their first values."""
    pyarrow = importlib.import_module("pyarrow")
    for number, name in enumerate(names):
        values = [row[number] for row in rows]
        kind = _type(values, pyarrow) if schema is None else schema.field(name).type
        array = pyarrow.array([_value(value, kind, pyarrow) for value in values], kind)
        columns = columns.append_column(name, array)
    return columns


def _batches(file: Path, columns: list[str] | None = None) -> Iterator[Any]:
    with _opened(file) as parquet:
        yield from (batch for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=columns) if batch.num_rows)


def _names(file: Path) -> list[str]:
    with _opened(file) as parquet:
        return list(parquet.schema_arrow.names)


def _pyarrow(file: Path) -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise DataError.at(
            file,
            None,
            "expected the package pyarrow, which reads Parquet, got none; run `pip install pyarrow`",
        ) from error


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    pyarrow, parquet = _pyarrow(file)
    try:
        with parquet.ParquetFile(file) as opened:
            yield opened
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError.at(
            file, None, f"expected a complete Parquet file, got: {reason}; it is damaged or truncated"
        ) from error


def _type(values: Sequence[object], pyarrow: Any) -> Any:
    """Return the type of a new column, from its first value that is not None."""
    match next((value for value in values if value is not None), None):
        case bool():
            return pyarrow.bool_()
        case int() | float():
            return pyarrow.float64()
    return pyarrow.string()


def _value(value: object, kind: Any, pyarrow: Any) -> object:
    if value is None:
        return None
    if kind == pyarrow.string():
        return value if isinstance(value, str) else as_text(value)
    return value
