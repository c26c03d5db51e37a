"""Records beside the ids: small JSON files with a version."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sru_data.atomic import atomic_write
from sru_data.errors import DataError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT = 1
REMEDY = "delete this file and prepare the text again"
_Record = TypeVar("_Record")


def write_record(path: Path, record: DataclassInstance) -> None:
    """Write a record.

    Args:
        path: The file.
        record: A dataclass of plain values.
    """
    content = json.dumps({"format": FORMAT, **asdict(record)}, indent=2) + "\n"
    with atomic_write(path) as file:
        file.write(content.encode())


def read_record(path: Path, make: Callable[..., _Record], *, expected: str, missing: str) -> _Record:
    """Read what `write_record` wrote.

    Args:
        path: The file.
        make: Takes the fields; raises TypeError, KeyError or ValueError if they are wrong.
        expected: What the record is.
        missing: What to say if there is no file.

    Raises:
        DataError: The file is missing, damaged or of another version.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError.at(path, None, missing) from error
    except (OSError, ValueError) as error:
        raise DataError.at(path, None, f"expected JSON, got: {error}; {REMEDY}") from error
    version = content.pop("format", None) if isinstance(content, dict) else None
    if version != FORMAT:
        raise DataError.at(
            path,
            None,
            f"expected format {FORMAT}, got {version!r}; it was written by another version, {REMEDY}",
        )
    try:
        return make(**content)
    except (TypeError, KeyError, ValueError) as error:
        raise DataError.at(path, None, f"expected {expected}, got other JSON; {REMEDY}") from error
