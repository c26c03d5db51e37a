"""The members of an archive."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, cast

from sru_data.errors import DataError
from sru_data.texts.inflation import check_inflated

_TAR = (".tar", ".tgz", ".taz", ".tbz", ".tbz2", ".tb2", ".txz", ".tlz")
_TAR_COMPRESSIONS = (".gz", ".bz2", ".xz", ".lzma")
_TAR_MARKS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"\x5d\0\0": "lzma"}
_MAX_HEADER_BYTES = 1 << 20
_ENDINGS = (".zip", *_TAR, *(f".tar{ending}" for ending in _TAR_COMPRESSIONS))


def is_archive(path: Path) -> bool:
    """Whether a file is an archive, by its name."""
    return path.name.lower().endswith(_ENDINGS)


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, in which the sizes of all members are listed in one place."""
    return path.suffix.lower() == ".zip"


def members(path: Path, stored: BinaryIO, pattern: str | None) -> Iterator[tuple[BufferedReader, int]]:
    """Yield the members one after another, opened, with their sizes.

    Args:
        path: The archive.
        stored: The opened archive.
        pattern: A name, or a pattern as in `fnmatch`; None for all members.

    Raises:
        DataError: There is no such member.
    """
    found = False
    for name, size, open_member in _zip_members(stored) if is_zip(path) else _tar_members(stored, path):
        if fnmatchcase(name, pattern or "*"):
            found = True
            with open_member() as file:
                yield file, size
    if not found:
        raise DataError.at(path, None, f"expected the member {pattern or '(any)'} in the archive, got none")


_Member = tuple[str, int, Callable[[], BufferedReader]]


def _zip_members(stored: BinaryIO) -> Iterator[_Member]:
    with zipfile.ZipFile(stored) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                yield entry.filename, entry.file_size, cast("Any", partial(archive.open, entry))


class _Inflated:
    """A decompressed archive as a stream, with a limit on how much it may grow."""

    header_end = sys.maxsize
    """The offset at which the current header must end."""

    def __init__(self, stored: BinaryIO, path: Path) -> None:
        from fsspec.compression import compr  # type: ignore[import-untyped]

        self._stored, self._path, self.place = stored, path, 0
        head = cast("BufferedReader", stored).peek(max(map(len, _TAR_MARKS)))
        found = (compression for mark, compression in _TAR_MARKS.items() if head.startswith(mark))
        self._file = compr[next(found, None)](stored, mode="r")

    def read(self, size: int) -> bytes:
        content = cast("bytes", self._file.read(size))
        self.place += len(content)
        check_inflated(self.place, self._stored, self._path)
        if self.place > self.header_end:
            raise tarfile.ReadError(f"a header of more than {_MAX_HEADER_BYTES:,} bytes")
        return content


class _Entry(tarfile.TarInfo):
    """A header of bounded size: tarfile would read a name or a sparse map of gigabytes into memory."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Entry:
        stream = cast("Any", archive.fileobj).fileobj
        # A header may contain another, which counts towards both.
        outer = stream.header_end
        stream.header_end = min(outer, stream.place + _MAX_HEADER_BYTES)
        try:
            return super().fromtarfile(archive)
        finally:
            stream.header_end = outer


def _tar_members(stored: BinaryIO, path: Path) -> Iterator[_Member]:
    # Read as a stream, in one pass: fsspec would decompress the archive again to list its members.
    stream = cast("BinaryIO", _Inflated(stored, path))
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Entry) as archive:
        while (entry := archive.next()) is not None:
            # tarfile would keep a record of every member.
            cast("Any", archive).members.clear()
            if entry.isfile():
                yield entry.name, entry.size, cast("Any", partial(archive.extractfile, entry))
