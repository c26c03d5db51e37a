"""Copies lines of text and folders of texts as CSV in UTF-8, with new columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from sru_data.tables.fields import as_text
from sru_data.tables.table import Table, next_fields


def write_csv(file: BinaryIO, table: Table, names: list[str], added: Iterator[list[object]]) -> None:
    """Write all columns of a table, and new ones, as CSV.

    Args:
        file: The output.
        table: The table.
        names: The names of the new columns.
        added: The new fields, one entry per row.
    """
    text = io.StringIO()
    # With another line end, older Pythons do not quote a \r.
    writer = csv.writer(text, lineterminator="\r\n")

    def write(fields: list[str]) -> None:
        writer.writerow(fields)
        file.write(text.getvalue().removesuffix("\r\n").encode() + b"\n")
        text.seek(0)
        text.truncate()

    write([*table.columns, *names])
    for values, _, _ in table.rows(table.columns):
        write([*values, *map(as_text, next_fields(added))])
