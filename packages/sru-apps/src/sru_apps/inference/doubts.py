"""Answers that a user should not rely on: the first ten are named, the others counted."""

from __future__ import annotations

import warnings

_NAMED = 10


class Doubts:
    """Warns about the first ten inputs whose answer is doubtful, and counts the others.

    Args:
        what: What the inputs are, such as `"sentences"`.

    Attributes:
        rows: The inputs so far.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.rows = self._count = 0

    def see(self, note: str | None, place: str) -> None:
        """Record the answer to one more input.

        Args:
            note: Why the answer is doubtful; None if it is not.
            place: Where the input is, such as `"mail.csv:6"`.
        """
        self.rows += 1
        if note is None:
            return
        self._count += 1
        if self._count <= _NAMED:
            warnings.warn(f"{place}: {note}", stacklevel=2)

    def end(self) -> None:
        """Warn about how many were not named."""
        if self._count > _NAMED:
            warnings.warn(f"there are {self._count - _NAMED:,} more such {self._what}", stacklevel=2)
