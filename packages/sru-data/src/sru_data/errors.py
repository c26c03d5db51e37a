"""The one exception for bad data."""

from __future__ import annotations

from pathlib import Path

_LONGEST_MESSAGE = 400


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
            message: What was expected, what was found, and the remedy if there is one. A long message is
                shortened in the middle.
        """
        place = printable(str(path)) if line is None else f"{printable(str(path))}:{line}"
        return cls(f"{place}: {printable(shortened(message, _LONGEST_MESSAGE))}")


def shortened(text: str, limit: int) -> str:
    """Return a text, shortened in the middle if it is longer than a limit.

    Args:
        text: The text.
        limit: The number of characters to keep.
    """
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} ... {text[-half:]}"


def printable(text: str) -> str:
    """Return a text with escapes for invalid characters, such as bytes of a path that are not UTF-8.

    Args:
        text: The text.
    """
    return text.encode("utf-8", "backslashreplace").decode()
