"""A column of a table as a text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sru_data.tables.opening import Kind, open_table
from sru_data.texts import TextFile
from sru_data.texts.files import CHUNK_BYTES


@dataclass(frozen=True)
class ColumnText:
    """A byte range of the text that consists of the fields of a column, each followed by a line feed.

    Like a `TextFile`, it can be a part of a `TextSource`. It is read row by row.
    """

    path: Path
    column: str
    start: int = 0
    end: int | None = None
    kind: Kind | None = None
    """As for `open_table`."""
    encoding: str = "utf-8"
    """The encoding of the file."""

    @property
    def place(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def origin(self) -> None:
        """None: an offset in the text is not an offset in the file."""
        return None

    @property
    def size(self) -> int | None:
        """The length of its text in bytes, if known without reading it."""
        return None if self.end is None else self.end - self.start

    stored_size = size

    def stored_chunks(self) -> Iterator[bytes]:
        """Yield its text, about a megabyte at a time.

        Raises:
            DataError: The column is missing or the file is malformed.
        """
        place, last, piece = 0, sys.maxsize if self.end is None else self.end, bytearray()
        for row in open_table(self.path, kind=self.kind, encoding=self.encoding).rows([self.column]):
            field = row.values[0].encode() + b"\n"
            piece += field[
                max(self.start - place, 0) : None if self.end is None else max(self.end - place, 0)
            ]
            place += len(field)
            if len(piece) >= CHUNK_BYTES:
                yield bytes(piece)
                piece.clear()
            if place >= last:
                break
        if piece:
            yield bytes(piece)

    chunks = stored_chunks

    def identity(self) -> list[Any]:
        """Return the identity of its file, as for `TextFile`, with the column, the range and the encoding.

        Raises:
            DataError: The file is missing.
        """
        encoding = [] if self.encoding == "utf-8" else [self.encoding]
        return [*TextFile(self.path).identity(), "column", self.column, self.start, self.end, *encoding]

    def between(self, start: int, end: int) -> ColumnText:
        """Return a piece of it; `start` and `end` are byte offsets in `stored_chunks`."""
        return replace(self, start=self.start + start, end=self.start + end)
