"""The parts of a text: files, compressed or not, members of archives, byte ranges of them, and strings."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, Protocol, cast

from sru_data.errors import DataError

CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
_DECOMPRESS: dict[str, Callable[[Path], Any]] = {
    ".xz": lzma.LZMAFile,
    ".gz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
}
_TAR_ENDINGS = (".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar")
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)


class TextPart(Protocol):
    """A consecutive piece of a text."""

    @property
    def place(self) -> str:
        """What to call it in messages."""

    @property
    def origin(self) -> int | None:
        """Where it begins in the decompressed file, in bytes; None where its text is not the file's bytes."""

    @property
    def size(self) -> int | None:
        """The length of its text in bytes, where that is known without reading it."""

    @property
    def stored_size(self) -> int | None:
        """The length of `stored_chunks` in bytes, where that is known without reading them."""

    def stored_chunks(self) -> Iterator[bytes]:
        """Yield its content as it is stored, after decompression."""

    def chunks(self) -> Iterator[bytes]:
        """Yield its text."""

    def identity(self) -> list[Any]:
        """Return what tells it from another one, as plain values."""

    def between(self, start: int, end: int) -> TextPart:
        """Return a piece of it, by bytes of `stored_chunks`."""


@dataclass(frozen=True)
class MemoryText:
    """A text that is in memory."""

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
        yield self.content

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

    The ending of the name tells the format: `.xz`, `.gz`, `.bz2`, or an archive, `.zip`, `.tgz`, `.tar` and
    the like; before any of these, `.jsonl`.
    """

    path: Path
    member: str | None = None
    """The archive's member, or a pattern as of `fnmatch` for several, which follow in the archive's order."""
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
            found = "a folder" if path.is_dir() else "no such file"
            raise DataError.at(path, None, f"expected a text file, got {found}")
        return cls(path, member, text_field=text_field)

    @property
    def place(self) -> str:
        """The path, with the archive's member."""
        return str(self.path) if self.member is None else f"{self.path} ({self.member})"

    @property
    def origin(self) -> int | None:
        """Where it begins in the file, in bytes; None for JSON lines."""
        return None if self._is_json_lines else self.start

    @property
    def size(self) -> int | None:
        """The length of its text in bytes, where that is known without reading it."""
        return None if self._is_json_lines else self.stored_size

    @property
    def stored_size(self) -> int | None:
        """The length of `stored_chunks` in bytes, where that is known without reading them."""
        if self.end is not None:
            return self.end - self.start
        with self._damage_as_data_error():
            if self.path.suffix == ".zip":
                with zipfile.ZipFile(self.path) as archive:
                    names = self._select(archive.namelist())
                    return sum(archive.getinfo(name).file_size for name in names) - self.start
            if self.path.suffix in _DECOMPRESS or self.path.name.endswith(_TAR_ENDINGS):
                return None
            return self.path.stat().st_size - self.start

    def stored_chunks(self) -> Iterator[bytes]:
        """Yield its content as it is stored, after decompression.

        Raises:
            DataError: The file is missing, damaged, or shorter than the range.
        """
        place, end = self.start, self.end
        with self._damage_as_data_error():
            for chunk in self._chunks_from(self.start):
                if end is not None and place + len(chunk) >= end:
                    yield chunk[: end - place]
                    return
                place += len(chunk)
                yield chunk
        if end is not None and place < end:
            raise DataError.at(
                self.place,
                None,
                f"expected at least {end:,} bytes, got {place:,}; the file was changed or cut short",
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
    def _is_json_lines(self) -> bool:
        name = self.member or self.path.name
        return name.removesuffix(Path(name).suffix if Path(name).suffix in _DECOMPRESS else "").endswith(
            ".jsonl"
        )

    def _chunks_from(self, start: int) -> Iterator[bytes]:
        for file in self._opened():
            if self.member is None and self.path.suffix not in _DECOMPRESS:
                file.seek(start)
                start = 0
            while chunk := file.read(CHUNK_BYTES):
                if start < len(chunk):
                    yield chunk[start:]
                start = max(start - len(chunk), 0)

    def _opened(self) -> Iterator[IO[bytes]]:
        """Yield the file, or the members one after the other."""
        if self.path.suffix == ".zip":
            with zipfile.ZipFile(self.path) as archive:
                for name in self._select(archive.namelist()):
                    with archive.open(name) as file:
                        yield file
        elif self.path.name.endswith(_TAR_ENDINGS):
            # As a stream: looking members up by name would decompress all before them, for each of them.
            with tarfile.open(self.path, "r|*") as archive:
                found = False
                for member in archive:
                    if member.isfile() and self._selects(member.name):
                        found = True
                        yield cast("IO[bytes]", archive.extractfile(member))
                self._check_found(found)
        elif self.path.suffix in _DECOMPRESS:
            with _DECOMPRESS[self.path.suffix](self.path) as file:
                yield file
        else:
            with open(self.path, "rb") as file:
                yield file

    def _selects(self, name: str) -> bool:
        return self.member is None or fnmatchcase(name, self.member)

    def _select(self, names: list[str]) -> list[str]:
        found = [name for name in names if not name.endswith("/") and self._selects(name)]
        self._check_found(bool(found))
        return found

    def _check_found(self, found: bool) -> None:
        if not found:
            raise DataError.at(
                self.path, None, f"expected the member {self.member or '(any)'} in the archive, got none"
            )

    def _texts(self) -> Iterator[bytes]:
        """Yield the text of each JSON line, and a line feed after it."""
        place = self.start
        for line in _lines(self.stored_chunks()):
            if line.strip():
                yield self._text_of(line, place)
            place += len(line) + 1

    def _text_of(self, line: bytes, place: int) -> bytes:
        try:
            record = json.loads(line)
            text = record[self.text_field] if isinstance(record, dict) else None
            if isinstance(text, str):
                return text.encode("utf-8") + b"\n"
            found = "another type of value" if isinstance(record, dict) else "no object"
        except KeyError:
            found = f"only the fields {', '.join(sorted(record)) or '(none)'}"
        except (ValueError, RecursionError) as error:
            found = f"something else ({error})"
        raise DataError.at(
            self.place,
            self._line_number(place),
            f"expected a JSON object with a text in the field {self.text_field!r}, got {found}",
        )

    def _line_number(self, place: int) -> int:
        before = replace(self, start=0, end=place)
        return 1 + (sum(chunk.count(b"\n") for chunk in before.stored_chunks()) if place else 0)

    @contextmanager
    def _damage_as_data_error(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            if isinstance(error, FileNotFoundError):
                message = "expected a text file, got no such file"
            elif isinstance(error, PermissionError):
                message = f"expected a file that may be read, got: {error.strerror}"
            else:
                message = (
                    f"expected a complete file, got: {error}; it is damaged or cut short, fetch it again"
                )
            raise DataError.at(self.place, None, message) from error


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a text that comes in chunks, without their line feeds."""
    begun: list[bytes] = []
    for chunk in chunks:
        end, *lines = chunk.split(b"\n")
        begun.append(end)
        for line in lines:
            yield b"".join(begun)
            begun = [line]
    yield b"".join(begun)
