"""The members of an archive."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from sru_data.errors import DataError

_TAR = (".tar", ".tgz", ".taz", ".tbz", ".tbz2", ".tb2", ".txz", ".tlz")
_TAR_COMPRESSIONS = (".gz", ".bz2", ".xz", ".lzma")
_ENDINGS = (".zip", *_TAR, *(f".tar{ending}" for ending in _TAR_COMPRESSIONS))


def is_archive(path: Path) -> bool:
    """Whether a file is an archive, by its name."""
    return path.name.lower().endswith(_ENDINGS)


def is_zip(path: Path) -> bool:
    """Whether a file is an archive whose members' sizes are listed in one place."""
    return path.suffix.lower() == ".zip"


def members(path: Path, pattern: str | None) -> Iterator[tuple[BufferedReader, int]]:
    """Open the members one after the other, and give their sizes.

    Args:
        path: The archive.
        pattern: A name, or a pattern as in `fnmatch`; None for all members.

    Raises:
        DataError: There is no such member.
    """
    found = False
    for name, size, open_member in (_zip_members if is_zip(path) else _tar_members)(path):
        if fnmatchcase(name, pattern or "*"):
            found = True
            with open_member() as file:
                yield file, size
    if not found:
        raise DataError.at(path, None, f"expected the member {pattern or '(any)'} in the archive, got none")


_Member = tuple[str, int, Callable[[], BufferedReader]]


def _zip_members(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                yield entry.filename, entry.file_size, cast("Any", partial(archive.open, entry))


def _tar_members(path: Path) -> Iterator[_Member]:
    # As a stream, in one pass: fsspec would decompress the archive once more to list its members.
    with tarfile.open(path, "r|*") as archive:
        for entry in archive:
            if entry.isfile():
                yield entry.name, entry.size, cast("Any", partial(archive.extractfile, entry))
