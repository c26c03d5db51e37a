"""The ids of a text in a file that is mapped into memory."""

from __future__ import annotations

import json
import mmap
import os
import sys
import warnings
import zlib
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from sru_data.atomic import atomic_write
from sru_data.errors import DataError, shortened
from sru_data.reading import parse_json, read_bytes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT = 1
REMEDY = "delete this file and prepare the text again"
_Record = TypeVar("_Record")
SUFFIX = ".tokens"
TokenType = Literal["uint16", "int32"]
_DTYPES: dict[TokenType, torch.dtype] = {"uint16": torch.uint16, "int32": torch.int32}
_UINT16_VALUES = 1 << 16
_INT32_VALUES = 1 << 31
_RECORD_BYTES = 1 << 20
# To check this much takes less than a tenth of a second.
ALWAYS_VERIFIED_BYTES = 1 << 26


@dataclass(frozen=True)
class TextCounts:
    """The length of a text."""

    tokens: int = 0
    """Ids from the tokenizer."""
    bytes: int = 0
    """Bytes of UTF-8."""
    characters: int = 0
    """Code points, line ends included."""
    words: int = 0
    """Runs of bytes other than ASCII white space; line ends do not count."""
    lines: int = 0
    """Line feeds, and one more if the text does not end in one."""


@dataclass(frozen=True)
class Description:
    """The content of `NAME.json`, which describes `NAME.tokens`."""

    dtype: TokenType
    """The type of an id: uint16 for a vocabulary of at most 65,536, else int32."""
    vocabulary: int
    """The number of ids of the tokenizer."""
    counts: TextCounts
    """The length of the text."""
    source: str
    """The fingerprint of the text."""
    tokenizer: str
    """The digest of the tokenizer's file."""
    crc32: int
    """The checksum of the ids' bytes."""

    @property
    def size(self) -> int:
        """The size of the ids in bytes."""
        return self.counts.tokens * token_size(self.dtype)

    def __post_init__(self) -> None:
        if self.dtype != token_type(self.vocabulary) or min(asdict(self.counts).values()) < 0:
            raise ValueError("the fields do not fit each other")
        if not 0 < self.vocabulary <= _INT32_VALUES:
            raise ValueError(f"a vocabulary of {self.vocabulary}")


@dataclass(frozen=True, eq=False)
class TokenFile:
    """The ids of one text.

    `NAME.tokens` holds the ids and nothing else, little-endian; `NAME.json` beside it describes them.
    """

    path: Path
    """The file of the ids."""
    tokens: Tensor
    """(tokens,) uint16 or int32, mapped: they take no memory but the system's cache. They are read-only;
    writing to them ends the process."""
    description: Description
    """What is known of them."""

    @classmethod
    def open(cls, path: str | Path, *, verify: bool | None = None) -> TokenFile:
        """Map a token file into memory.

        Args:
            path: `NAME.tokens`.
            verify: Whether to read all of it and compare its checksum; None does so for up to 64 MiB. The
                size is always compared.

        Raises:
            DataError: The file or its description is missing, damaged, of another version, or empty.
        """
        path = Path(path)
        description = read_record(
            path.with_suffix(".json"),
            Description,
            expected="the description of a token file",
            missing=f"expected the description of {path.name}, got no such file; prepare the text again",
        )
        opened = cls(path, _map(path, description), description)
        if verify or (verify is None and description.size <= ALWAYS_VERIFIED_BYTES):
            opened.verify()
        return opened

    @property
    def counts(self) -> TextCounts:
        """The length of the text in tokens, bytes, characters, words and lines."""
        return self.description.counts

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self.tokens)

    def verify(self) -> None:
        """Read the whole file, compare its checksum and look for ids outside the vocabulary.

        Raises:
            DataError: The content has changed since it was written, or was never that of this vocabulary.
        """
        found = checksum(self.path)
        if found != self.description.crc32:
            raise DataError.at(
                self.path,
                None,
                f"expected ids with the checksum {self.description.crc32:08x}, got {found:08x}; "
                f"the file is damaged, {REMEDY}",
            )
        # A negative id counts as one too large.
        parts = torch.split(self.tokens, 1 << 20)
        largest = max(int((part.to(torch.int64) & 0xFFFFFFFF).max()) for part in parts)
        if largest >= self.description.vocabulary:
            raise DataError.at(
                self.path,
                None,
                f"expected ids of a vocabulary of {self.description.vocabulary:,}, got {largest:,}; {REMEDY}",
            )


def token_type(vocabulary: int) -> TokenType:
    """Return the smallest type that holds the ids 0 to vocabulary - 1."""
    return "uint16" if vocabulary <= _UINT16_VALUES else "int32"


def token_size(dtype: TokenType) -> int:
    """Return the size of an id in bytes."""
    return _DTYPES[dtype].itemsize


def token_bytes(ids: Tensor, dtype: TokenType) -> bytearray:
    """Return ids as they are stored in a file.

    Args:
        ids: (tokens,) of any integer type.
        dtype: The type in the file.
    """
    content = bytearray(len(ids) * token_size(dtype))
    if content:
        torch.frombuffer(content, dtype=_DTYPES[dtype]).copy_(ids)
    return content


def _map(path: Path, description: Description) -> Tensor:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError.at(
            path, None, f"expected a token file, got {error.strerror}; prepare the text again"
        ) from error
    if size != description.size:
        raise DataError.at(
            path,
            None,
            f"expected {description.counts.tokens:,} ids in {description.size:,} bytes, got {size:,} bytes; "
            f"the file is {'truncated' if size < description.size else 'not the one described'}, {REMEDY}",
        )
    if not size:
        raise DataError.at(path, None, "expected ids, got an empty file; give a text with content")
    return map_tensor(path, _DTYPES[description.dtype])


def map_tensor(path: Path, dtype: torch.dtype) -> Tensor:
    """Map a file into memory, read-only.

    Args:
        path: The file, not empty.
        dtype: The type of its numbers.

    Raises:
        DataError: The machine is a big-endian one.
    """
    if sys.byteorder != "little":
        raise DataError.at(path, None, "expected a little-endian machine, got a big-endian one")
    # torch.from_file maps for writing, which the system refuses for more than its memory.
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


def write_record(path: Path, record: DataclassInstance, *, version: int = FORMAT) -> None:
    """Write a record.

    Args:
        path: The file.
        record: A dataclass of plain values.
        version: The version of the format of what it describes.
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
    version: int = FORMAT,
    remedy: str = REMEDY,
) -> _Record:
    """Read what `write_record` wrote.

    Args:
        path: The file.
        make: The dataclass; may raise ValueError if the fields are wrong.
        expected: What the record is.
        missing: What to say if there is no file.
        version: The version of the format.
        remedy: What to do about another one.

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


def _typed(value: Any, kind: Any) -> Any:
    """Return a value from JSON if it has the type that a record declares, a record for a dictionary.

    Raises:
        TypeError: It has another type.
    """
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        kinds = get_type_hints(kind)
        return kind(**{name: _typed(entry, kinds.get(name)) for name, entry in value.items()})
    origin, choices = get_origin(kind), get_args(kind)
    if origin is dict and isinstance(value, dict):
        return {name: _typed(entry, choices[1]) for name, entry in value.items()}
    if (value if origin is Literal else type(value)) not in (choices or (kind,)):
        raise TypeError(f"{shortened(repr(value), 60)} in place of {kind}")
    return value
