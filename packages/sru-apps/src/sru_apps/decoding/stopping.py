"""Ending a text at the first of several stop strings."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Passes text through, piece by piece, up to the first stop string.

    The first is the one that ends first. Text that may be the beginning of a stop string is held back.

    Args:
        strings: The stop strings; none is empty.

    Raises:
        ValueError: One is empty.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        if "" in strings:
            raise ValueError("a stop string must hold at least one character, got an empty one")
        self._strings = tuple(strings)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Take a piece of text and return the text that certainly precedes any stop string.

        Args:
            text: The next piece. Once a string has been found, nothing more is returned.
        """
        if self.found:
            return ""
        text = self._held + text
        # The one that ends first, so that the result does not depend on how the text is cut into pieces.
        ends = [(place + len(s), place) for s in self._strings if (place := text.find(s)) >= 0]
        if ends:
            self.found, self._held = True, ""
            return text[: min(ends)[1]]
        keep = max((_overlap(text, string) for string in self._strings), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """Return the text held back; call this at the end of the text."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, string: str) -> int:
    """Return how many characters at the end of the text are a proper prefix of the string."""
    longest = min(len(text), len(string) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(string[:size])), 0)
