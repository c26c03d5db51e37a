"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file such that it changes at once, and only when all of it is on the disk.

    Whatever interrupts this, a kill or a loss of power included, leaves the former file whole.

    Args:
        path: The file; its folder must exist.
        content: What it shall hold.
    """
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    replace(temporary, path)


def replace(source: Path, target: Path) -> None:
    """Rename a file whose content is on the disk, and bring the new name to the disk too.

    Args:
        source: The file.
        target: Its new name in the same folder; a file of that name is replaced.
    """
    os.replace(source, target)
    # Not every system lets a folder be opened (Windows) or synchronised (some network file systems).
    with contextlib.suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
