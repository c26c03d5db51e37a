"""Files that are either complete or absent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing so that it changes all at once, when the block ends without an exception.

    The bytes go to a temporary file in the same folder, reach the disk, and then take the name. If anything
    interrupts this, even a kill or a power failure, the former file stays intact; an exception, such as a
    full disk or Ctrl-C, removes the temporary file as well.

    Args:
        path: The file; its folder is created if missing.

    Yields:
        The temporary file, open for binary writing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("wb") as file:
            yield file
            synchronise(file)
        replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def synchronise(file: IO[bytes]) -> None:
    """Write what a file holds in buffers to the disk.

    Args:
        file: A file open for writing.
    """
    file.flush()
    os.fsync(file.fileno())


def replace(source: Path, target: Path) -> None:
    """Rename a file whose content is on the disk, and write the new name to the disk too.

    Args:
        source: The file.
        target: Its new name in the same folder; an existing file is replaced.
    """
    os.replace(source, target)
    # Windows cannot open a folder, and some network file systems cannot synchronise one.
    with contextlib.suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
