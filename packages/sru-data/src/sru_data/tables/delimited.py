"""Tables with a header line and usually a record per line: the base of CSV and TSV."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

from sru_data.errors import DataError
from sru_data.tables.fields import as_text
from sru_data.tables.table import Row, Table, next_fields


class Record(NamedTuple):
    """One record as read."""

    line: int
    """The line on which it begins."""
    raw: str
    """Its text in the file, with the line end."""
    fields: Sequence[str]
    """The fields; empty for a blank line or one that is not a record."""


class DelimitedTable(Table):
    """A table whose first non-blank record names the columns.

    White space around a name is dropped.
    """

    unequal_remedy: ClassVar[str]

    def __init__(self, files: Sequence[Path], encoding: str) -> None:
        self.encoding = encoding
        super().__init__(files, self._names(next(self._with_header(files[0]))))
        for file in files[1:]:
            self._check_same_columns(file, self._names(next(self._with_header(file))))

    @abstractmethod
    def _records(self, file: Path) -> Iterator[Record]:
        """Yield the records of a file."""

    @abstractmethod
    def _joined(self, fields: Sequence[str]) -> str:
        """Join fields with delimiters, to be appended to a record."""

    def _rows(self, columns: list[str], list_separator: str | None) -> Iterator[Row]:
        places = [self.columns.index(column) for column in columns]
        for file in self.files:
            records = self._with_header(file)
            next(records)
            for line, _, fields in records:
                if fields:
                    yield Row(tuple([fields[place] for place in places]), file, line)

    def _write(self, file: BinaryIO, names: list[str], added: Iterator[list[object]]) -> None:
        end = ""
        for number, source in enumerate(self.files):
            records = self._with_header(source)
            header = next(records)
            end = end or ("\r\n" if header.raw.endswith("\r\n") else "\n")
            if number == 0:
                file.write(self._encoded(self._extended(header.raw, names, end), source, header.line))
            for line, raw, fields in records:
                if fields:
                    texts = [as_text(value) for value in next_fields(added)]
                    raw = self._extended(raw, texts, end)
                elif not raw.endswith("\n"):
                    raw += end
                file.write(self._encoded(raw, source, line))

    def _extended(self, raw: str, fields: Sequence[str], end: str) -> str:
        record = raw.removesuffix("\n").removesuffix("\r")
        return f"{record}{self._joined(fields)}{end}"

    def _encoded(self, raw: str, file: Path, line: int) -> bytes:
        try:
            return raw.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise DataError.at(
                file,
                line,
                f"expected to add text that {self.encoding} can encode, got {error.object[error.start]!r}; "
                "convert the file to UTF-8",
            ) from error

    def _with_header(self, file: Path) -> Iterator[Record]:
        """Yield the header with the lines above it, then the records; check that all have as many fields."""
        records = self._records(file)
        above: list[str] = []
        for header in records:
            if header.fields:
                break
            above.append(header.raw)
        else:
            raise DataError.at(file, None, "expected a first line that names the columns, got an empty file")
        yield header._replace(raw="".join([*above, header.raw]))
        number = len(header.fields)
        for record in records:
            if record.fields and len(record.fields) != number:
                if len(record.fields) > 1 or record.fields[0].strip():
                    raise DataError.at(
                        file,
                        record.line,
                        f"expected {number} fields as in the first line, got {len(record.fields)}; "
                        f"{self.unequal_remedy}",
                    )
                record = record._replace(fields=())
            yield record

    def _names(self, header: Record) -> list[str]:
        return [name.strip() for name in header.fields]
