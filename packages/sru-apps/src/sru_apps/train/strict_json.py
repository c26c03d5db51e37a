"""JSON that every reader understands, without NaN and infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sru_apps.train.errors import MisfitError
from sru_data.atomic import atomic_write
from sru_data.reading import parse_json

_MOST_BYTES = 1 << 26


def dump_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON, with null for numbers that are not finite.

    Args:
        value: Plain types.
        indent: As for `json.dumps`.
    """
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write a value to a file, or replace the file, as the indented output of `dump_json`.

    Args:
        path: The file.
        value: Plain types.
    """
    with atomic_write(path) as file:
        file.write((dump_json(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a file written by `write_json`, or another JSON file.

    Args:
        path: The file.

    Raises:
        ValueError: It is not JSON, or is larger than 64 MiB.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise MisfitError(f"it is larger than {_MOST_BYTES:,} bytes")
    return parse_json(content)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, (list, tuple)) else value
