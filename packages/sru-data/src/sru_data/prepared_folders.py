"""Functions shared by folders of prepared data: records, checksums, and memory-mapped numbers."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
import warnings
import zlib
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from sru_data import download
from sru_data.atomic import atomic_write
from sru_data.errors import DataError, shortened
from sru_data.reading import parse_json, read_bytes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CORPUS_NAME, QUESTIONS_NAME, FEATURES_NAME = "corpus.json", "questions.json", "features.json"
PAIRS_NAME = "pairs.json"
_CONTENTS = {
    CORPUS_NAME: ("a prepared corpus", "a text"),
    QUESTIONS_NAME: ("prepared questions", "questions"),
    FEATURES_NAME: ("prepared features", "features"),
    PAIRS_NAME: ("prepared pairs", "pairs"),
}
"""The content of a folder with a file of that name, and the source of that content."""
_Record = TypeVar("_Record")
_RECORD_BYTES = 1 << 20
# Checking this much takes less than a tenth of a second.
ALWAYS_VERIFIED_BYTES = 1 << 26


def cached_folder(name: str, content: Sequence[object]) -> Path:
    """Return the folder below `download.cache_dir()` for some content.

    Args:
        name: The prefix of the folder's name.
        content: Everything that determines its files, as plain values.
    """
    key = hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()
    return download.cache_dir() / "prepared" / f"{name}-{key}"


def first_difference(
    then: Mapping[str, object], now: Mapping[str, object], *, parts: Collection[str], sources: str
) -> str | None:
    """Describe the first difference between the settings of a folder and the current ones, if any.

    Args:
        then: The settings of the folder, by name.
        now: The current settings.
        parts: The names of the settings for the sources of the parts.
        sources: What the sources are, for messages.
    """
    for name in {**then, **now}:
        if then.get(name) != now.get(name):
            values = f"{name} = {then.get(name)} (now {now.get(name)})"
            return f"other {sources} for {name}" if name in parts else values
    return None


def check_contents(folder: Path, file_name: str) -> None:
    """Refuse a folder of another kind, whose files have the same names.

    Args:
        folder: The folder.
        file_name: The file that identifies the expected kind.

    Raises:
        DataError: The folder holds a file that identifies another kind.
    """
    wanted, _ = _CONTENTS[file_name]
    for other, (content, _) in _CONTENTS.items():
        if other != file_name and (folder / other).is_file():
            raise DataError.at(
                folder,
                None,
                f"expected a folder for {wanted}, got one with {content}; name another folder",
            )


def map_tensor(path: Path, dtype: torch.dtype) -> Tensor:
    """Memory-map a file, read-only.

    Args:
        path: The file, not empty.
        dtype: The type of its numbers.

    Raises:
        DataError: The machine is big-endian.
    """
    if sys.byteorder != "little":
        raise DataError.at(path, None, "expected a little-endian machine, got a big-endian one")
    # torch.from_file maps for writing, which the system refuses for files larger than memory.
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return torch.frombuffer(mapped, dtype=dtype)


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file.

    Args:
        path: The file.
    """
    found = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found = zlib.crc32(chunk, found)
    return found


@dataclass(frozen=True)
class Stored:
    """The record of a file."""

    size: int
    """Its size in bytes."""
    crc32: int
    """Its checksum."""

    def check(self, path: Path, *, content: str, remedy: str, verify: bool | None = None) -> None:
        """Refuse the file if it is not the one that was written.

        Args:
            path: The file.
            content: What it belongs to, for messages.
            remedy: What to do if it is a different one.
            verify: Whether to read it and compare the checksum; None does so for up to 64 MiB.

        Raises:
            DataError: It is missing, or has another size or checksum.
        """
        try:
            size = path.stat().st_size
            found = checksum(path) if verify or (verify is None and size <= ALWAYS_VERIFIED_BYTES) else None
        except OSError as error:
            raise DataError.at(
                path, None, f"expected a file of {content}, got {error.strerror}; {remedy}"
            ) from error
        if size != self.size:
            state = "truncated" if size < self.size else "not the one described"
            raise DataError.at(
                path, None, f"expected {self.size:,} bytes, got {size:,}; the file is {state}, {remedy}"
            )
        if found not in (None, self.crc32):
            raise DataError.at(
                path,
                None,
                f"expected the checksum {self.crc32:08x}, got {found:08x}; the file is damaged, {remedy}",
            )


class GrowingFile:
    """A file that is written incrementally, with its checksum.

    Args:
        file: The file, open for writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._size, self._crc32 = file, 0, 0

    def write(self, content: bytes) -> int:
        """Write content and return its offset."""
        place = self._size
        self._file.write(content)
        self._size += len(content)
        self._crc32 = zlib.crc32(content, self._crc32)
        return place

    def write_line(self, value: object) -> int:
        """Write a line of JSON and return its offset."""
        return self.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")

    def write_numbers(self, kind: Literal["i", "q", "f"], *columns: Sequence[float]) -> int:
        """Write columns of numbers, one after the other, and return their offset in bytes."""
        numbers: array[Any] = array(kind)
        for column in columns:
            numbers.extend(column)
        return self.write(numbers.tobytes())

    def stored(self) -> Stored:
        """Return the record of the file so far."""
        return Stored(self._size, self._crc32)


def write_record(path: Path, record: DataclassInstance, *, version: int) -> None:
    """Write a record.

    Args:
        path: The file.
        record: A dataclass of plain values.
        version: The version of the format that it describes.
    """
    content = json.dumps({"format": version, **asdict(record)}, indent=2) + "\n"
    with atomic_write(path) as file:
        file.write(content.encode())


def read_record(
    path: Path,
    make: type[_Record],
    *,
    expected: str,
    missing: str,
    version: int,
    remedy: str,
) -> _Record:
    """Read what `write_record` wrote.

    Args:
        path: The file.
        make: The dataclass; may raise ValueError if the fields are wrong.
        expected: What the record should be, for messages.
        missing: The error message if there is no file.
        version: The version of the format.
        remedy: What to do about a record of another version, for messages.

    Raises:
        DataError: The file is missing, damaged or of another version.
    """
    if not os.path.lexists(path):
        raise DataError.at(path, None, missing)
    content = read_bytes(path, expected=expected, limit=_RECORD_BYTES)
    try:
        fields = parse_json(content)
        if (found := fields.pop("format", None)) != version:
            raise ValueError(f"format {found!r} of another version")
        return cast("_Record", _typed(fields, make))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        message = f"expected {expected} in format {version}, got something else ({error}); {remedy}"
        raise DataError.at(path, None, message) from error


def read_settings(folder: Path, file_name: str, make: type[_Record], *, version: int, remedy: str) -> _Record:
    """Read the record that describes what a folder holds.

    Args:
        folder: The folder.
        file_name: The name of the record, which identifies the kind of folder.
        make: As for `read_record`.
        version: The version of the format.
        remedy: What to do about a record of another version, for messages.

    Raises:
        DataError: The file is missing, damaged or of another version.
    """
    content, made_of = _CONTENTS[file_name]
    return read_record(
        folder / file_name,
        make,
        expected=content,
        missing=f"expected {content}, got no such file; prepare {made_of} in this folder",
        version=version,
        remedy=remedy,
    )


def _typed(value: Any, kind: Any) -> Any:
    """Return a value from JSON after checking its type; a dictionary becomes a record if that is declared.

    Raises:
        TypeError: It has another type.
    """
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        kinds = get_type_hints(kind)
        return kind(**{name: _typed(entry, kinds.get(name)) for name, entry in value.items()})
    origin, choices = get_origin(kind), get_args(kind)
    if origin is dict and isinstance(value, dict):
        return {name: _typed(entry, choices[1]) for name, entry in value.items()}
    if origin is list and isinstance(value, list):
        return [_typed(entry, choices[0]) for entry in value]
    if (value if origin is Literal else type(value)) not in (choices or (kind,)):
        raise TypeError(f"{shortened(repr(value), 60)} in place of {kind}")
    return value
