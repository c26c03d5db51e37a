"""Prepares a folder once: one process works while others wait, and an incomplete folder is not used."""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from sru_data.atomic import atomic_write, lock_folder, remove_temporaries
from sru_data.errors import DataError, shortened
from sru_data.prepared_folders import Stored, check_contents
from sru_data.reading import open_file


class Wanted(Protocol):
    """The intended content of a folder."""

    @property
    def name(self) -> str:
        """The name of the data set."""

    @property
    def identity(self) -> dict[str, object]:
        """Everything that determines the content of the folder, by the names used in messages."""


class Written(Protocol):
    """The record of a finished folder's content."""

    def difference(self, now: Mapping[str, object]) -> str | None:
        """Describe the first difference from a `Wanted.identity`, if there is one."""


def prepare_once(
    folder: Path,
    wanted: Wanted,
    finish: Callable[[], None],
    *,
    file_name: str,
    read: Callable[[Path], Written],
    leftovers: Iterable[Path],
    content: str,
    options: str = "options",
    waiting: Callable[[], None],
) -> None:
    """Prepare a folder unless it is finished, while other processes that need it wait.

    Args:
        folder: The folder, created if missing.
        wanted: Its intended content.
        finish: Writes the files into the empty folder, `file_name` last.
        file_name: The file that a finished folder has.
        read: Reads that file from a folder.
        leftovers: The files that an interrupted preparation may have left.
        content: What is prepared, for messages, such as "questions".
        options: What determines the content, for messages.
        waiting: Called if another process prepares the folder, before this one waits for it.

    Raises:
        DataError: The folder holds something else, or the system refused to read or write a file.
    """

    def is_finished() -> bool:
        if not (folder / file_name).is_file():
            return False
        if difference := read(folder).difference(wanted.identity):
            raise DataError.at(
                folder,
                None,
                f"expected a folder for {wanted.name} with these {options}, got one prepared with "
                f"{difference}; delete it or name another folder",
            )
        return True

    if is_finished():
        return
    with lock_folder(folder, wait=waiting), system_errors(folder, doing=f"prepare {content}"):
        # Another process may have finished it before this one got the lock.
        if not is_finished():
            check_contents(folder, file_name)
            remove_temporaries(folder)
            for path in leftovers:
                path.unlink(missing_ok=True)
            finish()


@contextlib.contextmanager
def system_errors(folder: Path, *, doing: str) -> Iterator[None]:
    """Add the operation in progress to a system error.

    Args:
        folder: The folder being written to.
        doing: The operation, such as "prepare questions".

    Raises:
        DataError: A system error occurred.
    """
    try:
        yield
    except OSError as error:
        raise DataError.at(
            error.filename or folder,
            None,
            f"expected to {doing} in {folder}, got: {error.strerror or error}; fix that and start again",
        ) from error


def fingerprint(paths: Iterable[Path], *, content: str, beside: bytes = b"") -> str:
    """Return a checksum of whole files, which detects a change of a single word.

    Args:
        paths: The files.
        content: What they hold, for messages.
        beside: Further content to include.

    Raises:
        DataError: A file cannot be read.
    """
    digest = hashlib.sha256(beside)
    for path in paths:
        with open_file(path, f"expected a file of {content}, got") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def write_stored(path: Path, content: bytes) -> Stored:
    """Write a whole file and return its record."""
    with atomic_write(path) as file:
        file.write(content)
    return Stored(len(content), zlib.crc32(content))


def check_counts(
    *, read: int, kept: int, dropped: Mapping[str, int], examples: Mapping[str, str], reasons: Collection[str]
) -> None:
    """Check that the counts of what was kept and left out add up.

    Args:
        read: How many there were.
        kept: How many were kept.
        dropped: How many were left out for each reason.
        examples: The first one left out for each reason.
        reasons: The possible reasons.

    Raises:
        ValueError: They do not add up, or nothing was kept.
    """
    known = dropped.keys() <= set(reasons) and dropped.keys() == examples.keys()
    if not known or kept < 1 or kept + sum(dropped.values()) != read:
        raise ValueError("the counts do not add up")


def none_kept(part: str, content: str, *, read: int, examples: Mapping[str, str]) -> DataError:
    """Return the error for a part without anything usable.

    Args:
        part: The name of the part.
        content: What it holds, for the message.
        read: How many there were.
        examples: The first one left out for each reason.
    """
    reasons = "; ".join(f"{reason}, as in {place}" for reason, place in examples.items())
    return DataError(
        f"{part}: expected usable {content}, got {read:,}, none of them usable: {shortened(reasons, 400)}"
    )
