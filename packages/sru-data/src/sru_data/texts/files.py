"""The parts of a text: files, compressed or not, members of archives, byte ranges of them, and strings."""

from __future__ import annotations

import hashlib
import json
import lzma
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from sru_data.errors import DataError

CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
_TAR = (".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar")
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)
_Entry = TypeVar("_Entry", zipfile.ZipInfo, tarfile.TarInfo)


@dataclass(frozen=True)
class MemoryText:
    """A text in memory."""

    place: str
    content: bytes
    origin: int = 0

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.content)

    stored_size = size

    def stored_chunks(self) -> Iterator[bytes]:
        """Yield the text."""
        for start in range(0, self.size, CHUNK_BYTES):
            yield self.content[start : start + CHUNK_BYTES]

    chunks = stored_chunks

    def identity(self) -> list[Any]:
        """Return a checksum."""
        return [self.place, hashlib.sha256(self.content).hexdigest()]

    def between(self, start: int, end: int) -> MemoryText:
        """Return a piece of the text."""
        return MemoryText(self.place, self.content[start:end], self.origin + start)


@dataclass(frozen=True)
class TextFile:
    """A range of bytes of a file or of members of an archive, after decompression.

    The ending of the name tells the format: `.xz`, `.gz`, `.bz2` or another compression that `fsspec` knows,
    or an
    archive: `.zip`, `.tgz`, `.tar` and so on; before any of these, `.jsonl`.
    """

    path: Path
    member: str | None = None
    """The member of the archive, or a pattern as in `fnmatch` for several, read in archive order."""
    start: int = 0
    end: int | None = None
    text_field: str = "text"
    """The field of JSON lines that holds the text."""

    @classmethod
    def at(cls, path: str | Path, *, member: str | None = None, text_field: str = "text") -> TextFile:
        """Name a file that exists.

        Raises:
            DataError: There is no such file.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError.at(
                path, None, f"expected a text file, got {'a folder' if path.is_dir() else 'no such file'}"
            )
        return cls(path, member, text_field=text_field)

    @property
    def place(self) -> str:
        """The path, and the member if it is an archive."""
        return str(self.path) if self.member is None else f"{self.path} ({self.member})"

    @property
    def origin(self) -> int | None:
        """Where it begins in the decompressed file, in bytes; None for JSON lines."""
        return None if self._is_json_lines else self.start

    @property
    def size(self) -> int | None:
        """The length of its text in bytes, if known without reading it."""
        return None if self._is_json_lines else self.stored_size

    @property
    def stored_size(self) -> int | None:
        """The length of `stored_chunks` in bytes, if known without reading them."""
        if self.end is not None:
            return self.end - self.start
        with self._damage_as_data_error():
            if self.path.suffix == ".zip":
                with zipfile.ZipFile(self.path) as archive:
                    return sum(entry.file_size for entry in self._selected(archive.infolist())) - self.start
            if self._compression or self.path.name.endswith(_TAR):
                return None
            return self.path.stat().st_size - self.start

    def stored_chunks(self) -> Iterator[bytes]:
        """Yield its content as stored, after decompression.

        Raises:
            DataError: The file is missing, damaged, or shorter than the range.
        """
        place, end = 0, sys.maxsize if self.end is None else self.end
        with self._damage_as_data_error():
            for file in self._opened():
                place += file.tell()
                while chunk := file.read(CHUNK_BYTES):
                    if piece := chunk[max(self.start - place, 0) : end - place]:
                        yield piece
                    place += len(chunk)
                    if place >= end:
                        return
        if self.end is not None and place < end:
            raise DataError.at(
                self.place,
                None,
                f"expected at least {end:,} bytes, got {place:,}; the file was changed or truncated",
            )

    def chunks(self) -> Iterator[bytes]:
        """Yield its text.

        Raises:
            DataError: As `stored_chunks`, or a line is not JSON with the text.
        """
        return self._texts() if self._is_json_lines else self.stored_chunks()

    def identity(self) -> list[Any]:
        """Return name, size, format and range, and a checksum of three samples of the file.

        Raises:
            DataError: The file is missing.
        """
        digest = hashlib.sha256()
        with self._damage_as_data_error(), open(self.path, "rb") as file:
            size = self.path.stat().st_size
            for place in (0, size // 2, max(size - _SAMPLE_BYTES, 0)):
                file.seek(place)
                digest.update(file.read(_SAMPLE_BYTES))
        field = self.text_field if self._is_json_lines else None
        return [self.path.name, self.member, size, self.start, self.end, field, digest.hexdigest()]

    def between(self, start: int, end: int) -> TextFile:
        """Return a piece of it, by bytes of `stored_chunks`."""
        return replace(self, start=self.start + start, end=self.start + end)

    @property
    def _compression(self) -> str | None:
        # Imported here, because it brings asyncio: 0.1 s that `import` does not need.
        from fsspec.utils import infer_compression  # type: ignore[import-untyped]

        return cast("str | None", infer_compression(self.path.name))

    @property
    def _is_json_lines(self) -> bool:
        name = Path(self.member or self.path.name)
        return (name.stem if self.member is None and self._compression else name.name).endswith(".jsonl")

    def _opened(self) -> Iterator[IO[bytes]]:
        """Yield the file, or the members one after the other."""
        from fsspec.compression import compr  # type: ignore[import-untyped]

        if self.path.suffix == ".zip":
            with zipfile.ZipFile(self.path) as archive:
                for entry in self._selected(archive.infolist()):
                    with archive.open(entry) as file:
                        yield file
        elif self.path.name.endswith(_TAR):
            # As a stream, in one pass: fsspec would decompress the archive once more to list its members.
            with tarfile.open(self.path, "r|*") as stream:
                for member in self._selected(stream):
                    yield cast("IO[bytes]", stream.extractfile(member))
        else:
            with open(self.path, "rb") as stored, compr[self._compression](stored, mode="r") as file:
                # What precedes the start in an archive has to be read, but not here.
                file.seek(self.start)
                yield file

    def _selected(self, entries: Iterable[_Entry]) -> Iterator[_Entry]:
        """Yield the members that the name or pattern selects, at least one."""
        found = False
        for entry in entries:
            name, is_file = (
                (entry.filename, not entry.is_dir())
                if isinstance(entry, zipfile.ZipInfo)
                else (entry.name, entry.isfile())
            )
            if is_file and (self.member is None or fnmatchcase(name, self.member)):
                found = True
                yield entry
        if not found:
            raise DataError.at(
                self.path, None, f"expected the member {self.member or '(any)'} in the archive, got none"
            )

    def _texts(self) -> Iterator[bytes]:
        """Yield the text of each JSON line, and a line feed after it."""
        for index, line in enumerate(_lines(self.stored_chunks())):
            if line.strip():
                yield self._text_of(line, index)

    def _text_of(self, line: bytes, index: int) -> bytes:
        try:
            return json.loads(line)[self.text_field].encode("utf-8") + b"\n"  # type: ignore[no-any-return]
        except KeyError:
            found = f"only the fields {', '.join(sorted(json.loads(line))) or '(none)'}"
        except (TypeError, AttributeError):
            found = "another type of value"
        except (ValueError, RecursionError) as error:
            found = f"something else ({error})"
        before = sum(chunk.count(b"\n") for chunk in replace(self, start=0, end=self.start).stored_chunks())
        raise DataError.at(
            self.place,
            before + index + 1,
            f"expected a JSON object with a text in the field {self.text_field!r}, got {found}",
        )

    @contextmanager
    def _damage_as_data_error(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            message = f"expected a complete file, got: {error}; it is damaged or truncated, download it again"
            if isinstance(error, (FileNotFoundError, PermissionError)):
                message = f"expected a readable file, got: {error.strerror}"
            raise DataError.at(self.place, None, message) from error


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a text that comes in chunks, without their line feeds."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    yield rest


TextPart = TextFile | MemoryText
"""A consecutive piece of a text."""
