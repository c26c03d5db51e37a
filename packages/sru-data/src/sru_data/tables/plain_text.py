"""Text without columns: one text per line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from sru_data.tables.as_csv import write_csv
from sru_data.tables.lines import text_lines
from sru_data.tables.table import Row, Table, check_length


class TextLinesTable(Table):
    """One text per line, in the column `text`; an empty line is an empty text.

    Args:
        files: The files.
        encoding: Their encoding.
    """

    kind = "text"
    output_ending = ".csv"

    def __init__(self, files: Sequence[Path], encoding: str) -> None:
        self.encoding = encoding
        super().__init__(files, ["text"])

    def _found(self) -> str:
        return "got a text file without columns, in which each line is a text"

    def _remedy(self, option: str | None) -> str:
        return "give a .csv, .tsv, .jsonl or .parquet file"

    def _header_line(self) -> int | None:
        return None

    def _rows(self, columns: list[str], list_separator: str | None) -> Iterator[Row]:
        for file in self.files:
            for number, line in enumerate(text_lines(file, self.encoding), start=1):
                text = check_length(line.removesuffix("\n").removesuffix("\r"), file, number, "text")
                yield Row((text,) * len(columns), file, number)

    def _write(self, file: BinaryIO, names: list[str], added: Iterator[list[object]]) -> None:
        write_csv(file, self, names, added)
