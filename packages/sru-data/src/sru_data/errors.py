"""The one exception for bad data, and how files are read and decoded so that it names the place."""

from __future__ import annotations

from pathlib import Path


class DataError(ValueError):
    """A data file is missing, damaged or not in the expected form.

    The message reads `FILE:LINE: expected ..., got ...; remedy`.
    """

    @classmethod
    def at(cls, path: str | Path, line: int | None, message: str) -> DataError:
        """Build the error for one place in a file.

        Args:
            path: The file.
            line: The line, counted from 1, or None for the file as a whole.
            message: What was expected, what was found, and the remedy if there is one.
        """
        return cls(f"{path}: {message}" if line is None else f"{path}:{line}: {message}")


def read_bytes(path: str | Path, *, expected: str) -> bytes:
    """Read a whole file.

    Args:
        path: The file.
        expected: What it should be, such as "a tokenizer file".

    Raises:
        DataError: The file cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError.at(path, None, f"expected {expected}, got: {error.strerror}") from error


def decode(
    content: bytes,
    encoding: str,
    *,
    path: str | Path,
    line: int | None = None,
    offset: int = 0,
    errors: str = "strict",
    remedy: str = "convert the file",
) -> str:
    """Decode bytes of a file.

    Args:
        content: The bytes.
        encoding: Their encoding.
        path: The file, for the error message.
        line: The line they are on, if they are one line.
        offset: The position of the first byte in the file, for the error message.
        errors: As for `bytes.decode`.
        remedy: What to do if they are not in this encoding.

    Raises:
        DataError: The bytes are not in this encoding.
    """
    try:
        return str(content, encoding, errors)
    except UnicodeDecodeError as error:
        raise DataError.at(
            path,
            line,
            f"expected text in {encoding}, got the byte 0x{content[error.start]:02x} at byte "
            f"{error.start + offset:,} ({error.reason}); {remedy}",
        ) from error
