"""TSV as IANA registers it: fields between tabs, never quoted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sru_data.tables.delimited import DelimitedTable, Record
from sru_data.tables.lines import text_lines
from sru_data.tables.table import check_length


class TabSeparatedTable(DelimitedTable):
    """A TSV: quotes have no special meaning, so no field contains a tab or a line end.

    In fields added to a copy, these become spaces. A file whose fields are quoted is a CSV with a tab as the
    delimiter.
    """

    kind = "TSV"
    output_ending = ".tsv"
    unequal_remedy = (
        "remove tabs and line ends within fields, or if fields are quoted, read the file as kind 'csv' with "
        "the delimiter '\\t'"
    )

    def _records(self, file: Path) -> Iterator[Record]:
        for number, line in enumerate(text_lines(file, self.encoding), start=1):
            content = line.removesuffix("\n").removesuffix("\r")
            fields = content.split("\t") if content else []
            if len(content) > len(fields):
                for field in fields:
                    check_length(field, file, number, "a field")
            yield Record(number, line, fields)

    def _joined(self, fields: Sequence[str]) -> str:
        return "".join("\t" + " ".join(field.replace("\t", "\n").splitlines()) for field in fields)
