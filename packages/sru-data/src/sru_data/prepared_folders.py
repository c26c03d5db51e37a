"""What folders of prepared data have in common: records, checksums, and numbers mapped into memory."""

from __future__ import annotations

import json
import mmap
import os
import sys
import warnings
import zlib
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from sru_data.atomic import atomic_write
from sru_data.errors import DataError, shortened
from sru_data.reading import parse_json, read_bytes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CORPUS_NAME, QUESTIONS_NAME = "corpus.json", "questions.json"
_CONTENTS = {CORPUS_NAME: "a prepared corpus", QUESTIONS_NAME: "prepared questions"}
"""What a folder with a file of that name holds."""
_Record = TypeVar("_Record")
_RECORD_BYTES = 1 << 20
# To check this much takes less than a tenth of a second.
ALWAYS_VERIFIED_BYTES = 1 << 26


def check_contents(folder: Path, file_name: str) -> None:
    """Refuse a folder of another kind, whose files have the same names.

    Args:
        folder: The folder.
        file_name: The file that tells the kind that is wanted.

    Raises:
        DataError: The folder holds a file that tells another one.
    """
    for other, content in _CONTENTS.items():
        if other != file_name and (folder / other).is_file():
            raise DataError.at(
                folder,
                None,
                f"expected a folder for {_CONTENTS[file_name]}, got one with {content}; name another folder",
            )


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


def write_record(path: Path, record: DataclassInstance, *, version: int) -> None:
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
    version: int,
    remedy: str,
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
