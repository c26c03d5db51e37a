"""The one exception for data that is not what it should be."""

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
            line: The line in it, counted from 1, or None when the file as a whole is meant.
            message: What was expected, what came, and the remedy if there is one.
        """
        place = f"{path}" if line is None else f"{path}:{line}"
        return cls(f"{place}: {message}")
