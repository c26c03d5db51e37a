"""The parts of a text: files, compressed or not, members of archives, byte ranges of them, and strings."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from sru_data.errors import DataError
from sru_data.reading import MAX_LINE_BYTES, MAX_WORD_BYTES, parse_json, skip_mark, why_not_a_file
from sru_data.texts.archives import is_archive, is_zip, members
from sru_data.texts.inflation import check_inflated

CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
_DAMAGE = (
    EOFError,
    MemoryError,
    OSError,
    # An encrypted member, or a compression that Python lacks.
    RuntimeError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


class TextPart(Protocol):
    """A contiguous piece of a text: a file, a column of a table or a string, or a byte range of one."""

    @property
    def place(self) -> str:
        """What to call it in messages."""

    @property
    def origin(self) -> int | None:
        """Where it begins in its file, in bytes; None if not applicable."""

    @property
    def size(self) -> int | None:
        """The length of its text in bytes, if known without reading it."""

    @property
    def stored_size(self) -> int | None:
        """The length of `stored_chunks` in bytes, if known without reading them."""

    def stored_chunks(self) -> Iterator[bytes]:
        """Yield its content as stored, after decompression."""

    def chunks(self) -> Iterator[bytes]:
        """Yield its text."""

    def identity(self) -> list[Any]:
        """Return a value that identifies the text."""

    def between(self, start: int, end: int) -> TextPart:
        """Return a piece of it; `start` and `end` are byte offsets in `stored_chunks`."""


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

    The suffix of the name determines the format: `.xz`, `.gz`, `.bz2` or another compression that `fsspec`
    supports, or an archive: `.zip`, `.tar`, `.tar.gz`, `.tgz` and so on; before any of these, `.jsonl`. A
    byte-order mark at the beginning of a file or member is not part of the text and is never counted.
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
        """Refer to a file that exists.

        Raises:
            DataError: There is no such file.
        """
        if reason := why_not_a_file(path):
            found = "no such file" if reason == os.strerror(errno.ENOENT) else reason
            raise DataError.at(path, None, f"expected a text file, got {found}")
        return cls(Path(path), member, text_field=text_field)

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
        if not is_zip(self.path) and (is_archive(self.path) or self._compression):
            return None
        with self._damage_as_data_error(), open(self.path, "rb") as stored:
            return sum(size for _, size in self._opened(stored)) - self.start

    def stored_chunks(self) -> Iterator[bytes]:
        """Yield its content as stored, after decompression.

        Raises:
            DataError: The file is missing, damaged, or shorter than the range; it is many times as large as
                its compressed form; or a word, or in JSON lines a line, is too long.
        """
        place, end, unbroken = 0, sys.maxsize if self.end is None else self.end, 0
        with self._damage_as_data_error(), open(self.path, "rb") as stored:
            for file, _ in self._opened(stored):
                if not is_archive(self.path) and file.seekable():
                    # Only archives and .zst files require reading the content before the start.
                    file.seek(self.start, os.SEEK_CUR)
                    place = self.start
                while chunk := file.read(CHUNK_BYTES):
                    unbroken = self._check(chunk, unbroken)
                    check_inflated(place, stored, self.place)
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

    def _check(self, chunk: bytes, unbroken: int) -> int:
        """Refuse a line or word that is too long; return how many bytes follow the last break."""
        is_record = self._is_json_lines
        last = max(map(chunk.rfind, (b"\n",) if is_record else (b" ", b"\t", b"\n")))
        unbroken = len(chunk) - 1 - last if last >= 0 else unbroken + len(chunk)
        limit = MAX_LINE_BYTES if is_record else MAX_WORD_BYTES
        if unbroken > limit:
            kind = "line" if is_record else "word"
            raise DataError.at(
                self.place, None, f"expected a {kind} of at most {limit:,} bytes, got a longer one"
            )
        return unbroken

    def chunks(self) -> Iterator[bytes]:
        """Yield its text.

        Raises:
            DataError: As for `stored_chunks`, or a line is not a JSON object with the text.
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
        """Return a piece of it; `start` and `end` are byte offsets in `stored_chunks`."""
        return replace(self, start=self.start + start, end=self.start + end)

    @property
    def _compression(self) -> str | None:
        # Imported here, because it imports asyncio: 0.1 s that `import` does not need.
        from fsspec.utils import infer_compression  # type: ignore[import-untyped]

        return cast("str | None", infer_compression(self.path.name))

    @property
    def _is_json_lines(self) -> bool:
        name = Path(self.member or self.path.name)
        return (name.stem if self.member is None and self._compression else name.name).endswith(".jsonl")

    def _opened(self, stored: BinaryIO) -> Iterator[tuple[BufferedReader, int]]:
        """Yield the file, or each member in turn, positioned after its byte-order mark, with its size."""
        if is_archive(self.path):
            opened = members(self.path, stored, self.member)
        else:
            from fsspec.compression import compr  # type: ignore[import-untyped]

            file = compr[self._compression](stored, mode="r")
            # Some decompressors lack `peek`.
            file = file if hasattr(file, "peek") else BufferedReader(file)
            opened = iter([(file, self.path.stat().st_size)])
        for file, size in opened:
            yield file, size - skip_mark(file, path=self.place)

    def _texts(self) -> Iterator[bytes]:
        """Yield the text of each JSON line, and a line feed after it."""
        for index, line in enumerate(_lines(self.stored_chunks())):
            if line.strip():
                yield self._text_of(line, index)

    def _text_of(self, line: bytes, index: int) -> bytes:
        try:
            match parse_json(line):
                case {self.text_field: str(text)}:
                    return text.encode() + b"\n"
                case {**fields} if self.text_field not in fields:
                    names = ", ".join(sorted(map(str, fields))) or "(none)"
                    found = f"only the fields {names}; choose one with text_field"
                case _:
                    found = "another type of value"
        except ValueError as error:
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
    """Yield the lines of a text given in chunks, without their line feeds."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    yield rest
