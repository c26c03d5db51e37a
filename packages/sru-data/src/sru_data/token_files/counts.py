"""How long a text is, in every unit that a language model is measured in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

# Every character of UTF-8 has exactly one byte that is none of these.
_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))


@dataclass(frozen=True)
class TextCounts:
    """The length of a text."""

    tokens: int = 0
    """Ids that the tokenizer made of it."""
    bytes: int = 0
    """Bytes of UTF-8."""
    characters: int = 0
    """Code points, line ends included."""
    words: int = 0
    """Runs of anything but ASCII white space; line ends do not count."""
    lines: int = 0
    """Line feeds, and one more where the text does not end in one."""


@dataclass(frozen=True)
class RunningCounts:
    """The length of a text that comes in blocks, which may end within a line, a word or a character."""

    counts: TextCounts = field(default_factory=TextCounts)
    ends_in_word: bool = False
    ends_in_line: bool = False

    def add(self, block: bytes, *, tokens: int) -> RunningCounts:
        """Return the counts with one more block.

        Args:
            block: The bytes that follow, at least one.
            tokens: The number of ids made of them.
        """
        counts = self.counts
        same_word = self.ends_in_word and not block[:1].isspace()
        ends_in_line = not block.endswith(b"\n")
        return RunningCounts(
            replace(
                counts,
                tokens=counts.tokens + tokens,
                bytes=counts.bytes + len(block),
                characters=counts.characters + len(block.translate(None, _CONTINUATION_BYTES)),
                words=counts.words + len(block.split()) - same_word,
                lines=counts.lines + block.count(b"\n") + ends_in_line - self.ends_in_line,
            ),
            ends_in_word=not block[-1:].isspace(),
            ends_in_line=ends_in_line,
        )
