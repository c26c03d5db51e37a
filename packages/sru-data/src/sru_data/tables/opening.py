"""Detects the kind of table in files, by their names or, failing that, by their content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from sru_data.errors import DataError
from sru_data.paths import matching_files
from sru_data.reading import why_not_a_file
from sru_data.tables.comma_separated import CommaSeparatedTable
from sru_data.tables.folder import FolderTable
from sru_data.tables.json_lines import JsonLinesTable
from sru_data.tables.lines import check_encoding
from sru_data.tables.parquet import ParquetTable
from sru_data.tables.plain_text import TextLinesTable
from sru_data.tables.tab_separated import TabSeparatedTable
from sru_data.tables.table import Table
from sru_data.texts import TextFile
from sru_data.texts.archives import is_archive

Kind = Literal["csv", "tsv", "jsonl", "txt", "folder", "parquet"]
_ENDINGS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "txt",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PARQUET_MARK = b"PAR1"
_ZSTANDARD = ".zst"


def open_table(
    paths: str | Path | Sequence[str | Path],
    *,
    kind: Kind | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
) -> Table:
    """Open a table in one or more files.

    The suffix of a name determines the kind: `.csv`, `.tsv` or `.tab`, `.jsonl`, `.ndjson` or `.json` (JSON
    lines), `.parquet` or `.pq`, `.txt` (one text per line, in the column `text`), optionally followed by a
    compression suffix such as `.gz`, `.bz2`, `.xz` or, with the package zstandard, `.zst`. A file with
    another name is Parquet or JSON lines if its content looks like it, else text. In place of JSON lines, a
    file may hold one JSON array of objects. A folder with a subfolder per label, each with a file per text,
    has the columns `text`, `label` and `file`; a folder with files only has no `label`.

    Args:
        paths: A file, a folder, a pattern as in `glob` (in sorted order), or several; all of one kind, with
            the same columns.
        kind: The kind, overriding the names.
        encoding: The encoding of the texts, one that extends ASCII.
        delimiter: The delimiter of a CSV; None detects `,` or `;` from the header.

    Raises:
        ValueError: An option has an invalid value.
        DataError: A file is missing, empty or malformed, or several files differ in kind or columns.
    """
    check_encoding(encoding)
    if kind is not None and kind not in get_args(Kind):
        raise ValueError(f"open_table: kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0'):
        raise ValueError(
            f"open_table: delimiter must be one ASCII character other than a quote, got {delimiter!r}"
        )
    files = matching_files(paths)
    if not files:
        raise ValueError("open_table: paths must name at least one file, got none")
    kinds = [_kind(file, kind) for file in files]
    for file, other in zip(files, kinds, strict=True):
        if other != kinds[0]:
            raise DataError.at(
                file,
                None,
                f"expected a file of the same kind as {files[0]} ({kinds[0]}), got {other}; read files of "
                "one kind",
            )
    match kinds[0]:
        case "csv":
            return CommaSeparatedTable(files, encoding, delimiter)
        case "tsv":
            return TabSeparatedTable(files, encoding)
        case "jsonl":
            return JsonLinesTable(files, encoding)
        case "txt":
            return TextLinesTable(files, encoding)
        case "parquet":
            return ParquetTable(files)
        case "folder":
            return FolderTable(files, encoding)


def _kind(path: Path, given: Kind | None) -> Kind:
    from fsspec.utils import infer_compression  # type: ignore[import-untyped]

    reason = why_not_a_file(path)
    if reason == "a folder" and given in (None, "folder"):
        return "folder"
    if given == "folder":
        raise DataError.at(path, None, f"expected a folder, got {reason or 'a file'}")
    if reason is not None:
        raise DataError.at(
            path, None, f"expected a file{' or folder' if given is None else ''}, got {reason}"
        )
    if is_archive(path):
        raise DataError.at(path, None, "expected a file of rows, got an archive; unpack it")
    if infer_compression(path.name) is None and path.suffix.lower() == _ZSTANDARD:
        raise DataError.at(
            path, None, "expected support for Zstandard, got none; run `pip install zstandard`"
        )
    return given or kind_by_name(path) or _kind_of_content(path)


def kind_by_name(path: Path) -> Kind | None:
    """Return the kind of a file from the suffix of its name, before any compression suffix; None if unknown.

    Args:
        path: The file.
    """
    from fsspec.utils import infer_compression

    name = Path(path.stem) if infer_compression(path.name) else path
    return _ENDINGS.get(name.suffix.lower())


def _kind_of_content(path: Path) -> Kind:
    head = next(TextFile.at(path).stored_chunks(), b"")
    if head.startswith(_PARQUET_MARK):
        return "parquet"
    return "jsonl" if head.lstrip().startswith(b"{") else "txt"
