"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing such that it changes at once, when the block ends without an exception.

    The bytes go to a temporary file in the same folder, reach the disk, and then take the name. Whatever
    interrupts this, a kill or a loss of power included, leaves the former file whole; an exception, such as
    that of a full disk or of Ctrl-C, removes the temporary file too.

    Args:
        path: The file; its folder is made when missing.

    Yields:
        The temporary file, open for binary writing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
