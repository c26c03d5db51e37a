"""Files that are either complete or absent."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from sru_data.errors import DataError

_TEMPORARY = ".partial"


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that is replaced atomically when the block ends without an exception.

    The bytes go to a temporary file in the same folder, which is flushed to disk and then renamed. If
    anything interrupts this, even a kill or a power failure, the previous file stays intact; an exception,
    such as a full disk or Ctrl-C, removes the temporary file as well.

    Args:
        path: The file; its folder is created if missing.

    Yields:
        The temporary file, open for binary writing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _temporary(path)
    try:
        with file:
            yield file
            synchronise(file)
        replace(Path(file.name), path)
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> IO[bytes]:
    """Open a new file next to another; mode "x" excludes other writers and follows no symbolic link."""
    try:
        return path.with_name(f".{path.name}{_TEMPORARY}").open("xb")
    except FileExistsError:
        # Another writer is at work, or was killed.
        return path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}").open("xb")


def remove_temporaries(folder: Path) -> None:
    """Remove temporary files of killed writers from a folder that no other process writes to.

    Args:
        folder: The folder.
    """
    for path in folder.glob(f".*{_TEMPORARY}"):
        path.unlink(missing_ok=True)


def open_partial(path: Path) -> IO[bytes]:
    """Open a file for appending, unless it is a symbolic link.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened, or is a symbolic link.
    """
    # Windows lacks the flag.
    no_link = getattr(os, "O_NOFOLLOW", 0)
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags | no_link, 0o666))


def synchronise(file: IO[bytes]) -> None:
    """Flush the buffers of a file to the disk.

    Args:
        file: A file open for writing.
    """
    file.flush()
    os.fsync(file.fileno())


def replace(source: Path, target: Path) -> None:
    """Rename a file whose content is on disk, and flush the new name to disk too.

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


def lock_folder(folder: Path, *, wait: Callable[[], object]) -> contextlib.AbstractContextManager[object]:
    """Lock a folder against other processes; the system releases the lock of a killed process.

    Args:
        folder: The folder; created if missing.
        wait: Called if another process has the lock, before this one waits for it.

    Raises:
        DataError: The folder cannot be created or locked.
    """
    from filelock import FileLock, Timeout  # imports asyncio: 0.1 s that writing a file does not need

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return lock.acquire(timeout=0)
    except Timeout:
        wait()
        return lock.acquire()
    # NotImplementedError comes from network file systems without locks.
    except (OSError, NotImplementedError) as error:
        raise DataError.at(
            folder,
            None,
            f"expected a folder to write to, got: {getattr(error, 'strerror', None) or error}; "
            "name another folder",
        ) from error
