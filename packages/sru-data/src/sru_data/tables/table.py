"""The interface of every kind of table: rows of text, and copies with columns added."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

from sru_data.errors import DataError, printable, shortened
from sru_data.tables.output import open_output

MAX_FIELD_BYTES = 1 << 20
"""The maximum length of a field, in bytes of UTF-8: 1 MiB. In a CSV, `csv.field_size_limit()` characters."""
_MAX_SHOWN = 200
_MAX_COMPARED = 1000


class Row(NamedTuple):
    """Some fields of one row, as text."""

    values: tuple[str, ...]
    """The fields, in the order of the requested columns."""
    file: Path
    """The file."""
    line: int | None
    """The line on which the row begins, counted from 1; the row number in a Parquet file; None if the row is
    a whole file."""

    @property
    def place(self) -> str:
        """File and line, as in `mail.csv:12`."""
        file = printable(str(self.file))
        return file if self.line is None else f"{file}:{self.line}"


class Table(ABC):
    """Rows with named columns, in one or more files of one kind.

    A table is read as a stream: memory does not grow with the number of rows.

    Attributes:
        files: The files, in reading order; all have the same columns.
        columns: The names of the columns.
    """

    kind: ClassVar[str]
    """The name of the file type in messages, such as "CSV"."""
    output_ending: ClassVar[str]
    """The suffix of a copy's name, before any compression suffix: `.csv`, `.tsv`, `.jsonl` or `.parquet`."""

    def __init__(self, files: Sequence[Path], columns: Sequence[str]) -> None:
        self.files = list(files)
        self.columns = list(columns)

    def rows(self, columns: Sequence[str], *, list_separator: str | None = None) -> Iterator[Row]:
        """Yield some columns of every row, as text.

        A null becomes an empty string. A number is written as in JSON, without a fraction if it is whole.
        Blank lines of CSV, TSV and JSON lines files are skipped.

        Args:
            columns: The names of the columns.
            list_separator: The separator of the items of a list (JSON lines, Parquet); None refuses lists.

        Raises:
            DataError: A column is missing (raised at once), or a file is malformed (raised when that row is
                read).
        """
        for column in columns:
            self.check_column(column)
        return self._rows(list(columns), list_separator)

    def copy_with(
        self,
        out: str | Path | BinaryIO,
        added: Iterable[Mapping[str, object]],
        *,
        columns: Sequence[str],
    ) -> list[str]:
        """Write the table, row for row, with columns added on the right.

        CSV, TSV and JSON lines keep every byte of a row and every blank line. Lines of text and folders
        become a CSV. A value may be a text, a number, a boolean, None (an empty field) or a list (as JSON).
        If a name is taken, the new column gets the first free one of `NAME_2`, `NAME_3` and so on.

        Args:
            out: A file, which is replaced atomically once everything is written, or a binary stream, which
                receives each row as soon as it is available. The suffix of a file's name may select a
                compression.
            added: The new fields, one mapping per row of `rows`. The iterable may read this table at the same
                time.
            columns: The names of the new columns.

        Returns:
            The names of the new columns as written.

        Raises:
            ValueError: `added` has more or fewer entries than the table has rows.
            DataError: A file is malformed, `out` is one of the files or its name has the suffix of another
                kind, or a new field cannot be written in the encoding of the table.
        """
        names = self._free_names(columns)
        rows = _in_step(iter(added), columns)
        if isinstance(out, (str, Path)):
            self._check_output(Path(out))
            with open_output(Path(out)) as file:
                self._write_all(file, names, rows)
        else:
            self._write_all(out, names, rows)
        return names

    def _write_all(self, file: BinaryIO, names: list[str], added: Iterator[list[object]]) -> None:
        self._write(file, names, added)
        if next(added, None) is not None:
            raise ValueError("Table.copy_with: added must have one entry per row, got more")

    @abstractmethod
    def _rows(self, columns: list[str], list_separator: str | None) -> Iterator[Row]:
        """Yield some columns of every row; all of them exist."""

    @abstractmethod
    def _write(self, file: BinaryIO, names: list[str], added: Iterator[list[object]]) -> None:
        """Write every row with the next fields of `added`."""

    def _taken_names(self) -> Sequence[str]:
        return self.columns

    def check_column(self, column: str, *, option: str | None = None) -> None:
        """Refuse a column that the table does not have or has twice.

        Args:
            column: Its name.
            option: The argument that names it, for the message.

        Raises:
            DataError: There is none, or more than one.
        """
        if self.columns.count(column) == 1:
            return
        if column in self.columns:
            message = f"expected one column {column!r}, got {self.columns.count(column)}; rename the others"
        else:
            nearest = _nearest(column, self.columns)
            remedy = f"did you mean {nearest!r}?" if nearest else self._remedy(option)
            message = f"expected a column {column!r}, {self._found()}; {remedy}"
        raise DataError.at(self.files[0], self._header_line(), message)

    def _found(self) -> str:
        return f"got a {self.kind} file with {_listed(self.columns)}"

    def _remedy(self, option: str | None) -> str:
        return f"choose one of these{f' with {option}' if option else ''}"

    def _header_line(self) -> int | None:
        return 1

    def _check_same_columns(self, file: Path, columns: Sequence[str]) -> None:
        if list(columns) != self.columns:
            raise DataError.at(
                file,
                self._header_line(),
                f"expected the same columns as in {self.files[0]} ({_listed(self.columns)}), got "
                f"{_listed(columns)}",
            )

    def _free_names(self, columns: Sequence[str]) -> list[str]:
        taken = set(self._taken_names())
        names = []
        for column in columns:
            name, number = column, 1
            while name in taken:
                number += 1
                name = f"{column}_{number}"
            taken.add(name)
            names.append(name)
        return names

    def _check_output(self, out: Path) -> None:
        if any(out.exists() and out.samefile(file) for file in self.files if file.exists()):
            raise DataError.at(
                out, None, "expected an output file other than the input files, got one of them"
            )
        if self.output_ending not in (suffix.lower() for suffix in out.suffixes[-2:]):
            raise DataError.at(
                out,
                None,
                f"expected a name that ends in {self.output_ending}, since the copy of a {self.kind} file "
                f"has the same format, got {out.name!r}",
            )


def _in_step(added: Iterator[Mapping[str, object]], columns: Sequence[str]) -> Iterator[list[object]]:
    for fields in added:
        yield [fields[column] for column in columns]


def next_fields(added: Iterator[list[object]]) -> list[object]:
    """Return the new fields of the next row.

    Raises:
        ValueError: There are no more.
    """
    fields = next(added, None)
    if fields is None:
        raise ValueError("Table.copy_with: added must have one entry per row, got fewer")
    return fields


def check_length(text: str, file: Path, line: int | None, column: str) -> str:
    """Return a field after checking its length.

    Raises:
        DataError: It is longer than 1 MiB.
    """
    if len(text) > MAX_FIELD_BYTES // 4 and len(text.encode()) > MAX_FIELD_BYTES:
        raise DataError.at(
            file,
            line,
            f"expected at most {MAX_FIELD_BYTES:,} bytes in {column!r}, got {len(text.encode()):,}",
        )
    return text


def _listed(columns: Sequence[str]) -> str:
    names = shortened(", ".join(map(repr, columns)), _MAX_SHOWN)
    return f"the column{'s' if len(columns) != 1 else ''} {names}" if columns else "no columns"


def _nearest(column: str, columns: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(columns)}
    names = [name[:_MAX_SHOWN] for name in islice(lower, _MAX_COMPARED)]
    near = difflib.get_close_matches(column.lower()[:_MAX_SHOWN], names, n=1)
    return lower.get(near[0]) if near else None
