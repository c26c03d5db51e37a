"""A folder of texts: a file per text, in a folder per label."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from sru_data.errors import DataError, shortened
from sru_data.tables.as_csv import write_csv
from sru_data.tables.lines import text_lines
from sru_data.tables.table import MAX_FIELD_BYTES, Row, Table


class FolderTable(Table):
    """A folder with a subfolder per label, each with a file per text, compressed or not.

    The columns are `text`, `label` (the name of the subfolder) and `file` (the path within the folder). A
    folder without subfolders has no `label`. Rows are sorted by name. Hidden files are ignored, and so are
    files next to the label folders, with a warning; the line end at the end of a text is dropped.

    Args:
        files: The folders.
        encoding: The encoding of the texts.
    """

    kind = "folder"
    output_ending = ".csv"

    def __init__(self, files: Sequence[Path], encoding: str) -> None:
        self.encoding = encoding
        super().__init__(files, _columns(files[0]))
        for folder in files[1:]:
            self._check_same_columns(folder, _columns(folder))

    def _found(self) -> str:
        return f"got a folder of texts, with the columns {', '.join(map(repr, self.columns))}"

    def _remedy(self, option: str | None) -> str:
        return "give the folder above, or for a folder of tables a pattern such as 'folder/*.csv'"

    def _header_line(self) -> int | None:
        return None

    def _rows(self, columns: list[str], list_separator: str | None) -> Iterator[Row]:
        for folder in self.files:
            labels: list[str] = _folders(folder) if "label" in self.columns else [""]
            for label in labels:
                for name in _texts(folder / label):
                    file = folder / label / name
                    fields = {"label": label, "file": f"{label}/{name}" if label else name}
                    if "text" in columns:
                        fields["text"] = self._read(file)
                    yield Row(tuple([fields[column] for column in columns]), file, None)

    def _read(self, file: Path) -> str:
        lines, size = [], 0
        for line in text_lines(file, self.encoding):
            size += len(line)
            if size > MAX_FIELD_BYTES:
                raise DataError.at(
                    file, None, f"expected a text of at most {MAX_FIELD_BYTES:,} bytes, got more"
                )
            lines.append(line)
        return "".join(lines).removesuffix("\n").removesuffix("\r")

    def _write(self, file: BinaryIO, names: list[str], added: Iterator[list[object]]) -> None:
        write_csv(file, self, names, added)


def _columns(folder: Path) -> list[str]:
    labels = _folders(folder)
    for label in labels:
        inner, texts = _folders(folder / label), _texts(folder / label)
        if inner and texts:
            raise DataError.at(
                folder / label / inner[0],
                None,
                f"expected a file per text of the label {label!r}, got a folder among them; move its texts "
                "up, or move the folder elsewhere",
            )
        if not texts:
            remedy = f"give {folder / label}" if inner else "remove the folder, or add its texts"
            raise DataError.at(
                folder / label,
                None,
                f"expected a file per text of the label {label!r}, got {'folders' if inner else 'no file'}; "
                f"{remedy}",
            )
    beside = _texts(folder)
    if labels and beside:
        warnings.warn(
            f"{folder}: files next to the label folders are ignored: {shortened(', '.join(beside), 80)}",
            stacklevel=2,
        )
    if not labels and not beside:
        raise DataError.at(
            folder, None, "expected a folder per label, or a file per text, got an empty folder"
        )
    return ["text", "label", "file"] if labels else ["text", "file"]


def _folders(folder: Path) -> list[str]:
    return _entries(folder, lambda entry: entry.is_dir())


def _texts(folder: Path) -> list[str]:
    return _entries(folder, lambda entry: entry.is_file())


def _entries(folder: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and wanted(entry))
    except OSError as error:
        raise DataError.at(folder, None, f"expected a readable folder, got: {error.strerror}") from error
