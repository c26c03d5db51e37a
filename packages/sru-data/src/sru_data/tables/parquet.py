"""Parquet, by way of pyarrow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sru_data.errors import DataError
from sru_data.tables.fields import FieldReader, as_text
from sru_data.tables.table import Row, Table, next_fields

_ROWS_AT_ONCE = 1024


class ParquetTable(Table):
    """A Parquet file, read a thousand rows at a time.

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
        pyarrow, parquet = _pyarrow(self.files[0])
        with _opened(self.files[0]) as opened:
            schema = opened.schema_arrow
        writer, types = None, [pyarrow.string()] * len(names)
        try:
            for batch in (batch for source in self.files for batch in _batches(source)):
                rows = [next_fields(added) for _ in range(batch.num_rows)]
                fields = list(zip(*rows, strict=True))
                if writer is None:
                    types = [_type(values, pyarrow) for values in fields]
                    writer = parquet.ParquetWriter(file, _extended(schema, names, types, pyarrow))
                new = [
                    pyarrow.array([_value(value, kind, pyarrow) for value in values], kind)
                    for values, kind in zip(fields, types, strict=True)
                ]
                writer.write_batch(pyarrow.record_batch([*batch.columns, *new], schema=writer.schema))
            writer = writer or parquet.ParquetWriter(file, _extended(schema, names, types, pyarrow))
        finally:
            if writer is not None:
                writer.close()


def _extended(schema: Any, names: list[str], types: list[Any], pyarrow: Any) -> Any:
    for name, kind in zip(names, types, strict=True):
        schema = schema.append(pyarrow.field(name, kind))
    return schema


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
    """The type of a new column, by the first of its values that is not None."""
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
