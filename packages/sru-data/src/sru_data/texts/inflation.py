"""Limits on how much larger than its compressed form a text may be."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from sru_data.errors import DataError

MOST_COMPRESSED = 100
"""How many times larger than its compressed form a text may be, if it exceeds 64 MiB."""
_ALWAYS_INFLATED = 1 << 26


def check_inflated(size: int, stored: BinaryIO, place: str | Path) -> None:
    """Refuse a file that grows too much when it is decompressed.

    Args:
        size: The number of bytes decompressed so far.
        stored: The compressed file, at the position up to which it was read.
        place: Its path, for the message.

    Raises:
        DataError: It is larger than 64 MiB and more than 100 times as large as what was read.
    """
    if size > max(_ALWAYS_INFLATED, MOST_COMPRESSED * stored.tell()):
        raise DataError.at(
            place,
            None,
            f"expected at most {MOST_COMPRESSED} times the compressed size, got more; decompress it first",
        )
