"""Texts that may be larger than memory, read in blocks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal

from sru_data.errors import DataError
from sru_data.paths import matching_files
from sru_data.reading import decode
from sru_data.texts.files import MemoryText, TextFile, TextPart

Unit = Literal["words", "characters", "bytes", "subwords"]
BLOCK_BYTES = 1 << 20
_LONGEST_CHARACTER = 4


class Block(bytes):
    """A piece of a text, with its location."""

    place: str
    """The file, or the name of the text."""
    offset: int | None
    """Where it begins in the decompressed file, in bytes; None if not applicable (JSON lines)."""

    def __new__(cls, content: bytes, *, place: str = "text", offset: int | None = 0) -> Block:  # noqa: D102
        block = super().__new__(cls, content)
        block.place, block.offset = place, offset
        return block

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the block as text.

        Args:
            encoding: As for `bytes.decode`.
            errors: As for `bytes.decode`.

        Raises:
            DataError: The block is not in this encoding; the message names the file and the byte.
        """
        return decode(
            self,
            encoding,
            path=self.place,
            offset=self.offset or 0,
            errors=errors,
            remedy="convert the file, or read it as bytes",
        )


@dataclass(frozen=True)
class TextSource:
    """A text in one or more parts, such as the files of a corpus, one after the other.

    Each call of `blocks` reads it from the beginning; it is never held in memory as a whole.
    """

    name: str
    """What to call it in messages."""
    parts: tuple[TextPart, ...]
    """The parts in order."""

    @classmethod
    def from_files(
        cls,
        paths: str | Path | Sequence[str | Path],
        *,
        name: str | None = None,
        member: str | None = None,
        text_field: str = "text",
    ) -> TextSource:
        """Create a text from one or more files, read one after the other.

        Files ending in `.xz`, `.gz` or `.bz2` are decompressed. If the name ends in `.jsonl`, before any such
        suffix, each line is a JSON object whose `text_field` is read and followed by a line feed.

        Args:
            paths: A file, a pattern as in `glob` (in sorted order), or several of them.
            name: What to call the text in messages; by default the path of the first file.
            member: The member of each file to read if they are archives, or a pattern for several.
            text_field: The field of JSON lines that holds the text.

        Raises:
            ValueError: There is no file.
            DataError: A file is missing, or a pattern matches nothing.
        """
        files = matching_files(paths)
        parts = tuple(TextFile.at(path, member=member, text_field=text_field) for path in files)
        if not parts:
            raise ValueError("TextSource.from_files: paths must name at least one file, got none")
        return cls(name or parts[0].place, parts)

    @classmethod
    def from_text(cls, text: str, *, name: str) -> TextSource:
        """Create a text from a string.

        Args:
            text: The text.
            name: What to call it in messages.
        """
        return cls(name, (MemoryText(name, text.encode("utf-8")),))

    @property
    def size(self) -> int | None:
        """The length in bytes, if known without reading the text."""
        sizes = [part.size for part in self.parts]
        return None if None in sizes else sum(filter(None, sizes))

    def measure(self) -> int:
        """Return the length in bytes as stored, after decompression; reads compressed files.

        Raises:
            DataError: A file is missing or damaged.
        """
        return sum(self._stored_sizes)

    @property
    def fingerprint(self) -> str:
        """A short string that identifies the text.

        It covers the names, sizes, byte ranges and formats of the files and samples from the beginning,
        middle and end of each. An edit elsewhere that keeps the size is not detected.

        Raises:
            DataError: A file is missing.
        """
        identities = [part.identity() for part in self.parts]
        return hashlib.sha256(json.dumps([BLOCK_BYTES, identities]).encode()).hexdigest()

    def blocks(self, skip: int = 0) -> Iterator[Block]:
        """Yield the text in blocks of at most `BLOCK_BYTES`; together they are the whole text.

        A block ends where a line ends. A line longer than a block is cut before white space, or if it has
        none, at the end of a character. Blocks do not span files. Where the blocks are cut depends only on
        the content.

        Args:
            skip: The number of blocks to skip at the beginning.

        Raises:
            DataError: A file is missing, damaged, or not JSON lines; or the whole text is empty.
        """
        index = 0
        for part in self.parts:
            offset = part.origin
            for content in _cut(part.chunks()):
                index += 1
                if index > skip:
                    yield Block(content, place=part.place, offset=offset)
                if offset is not None:
                    offset += len(content)
        if index == 0:
            raise self._empty()

    def split(self, shares: Sequence[float]) -> tuple[TextSource, ...]:
        """Cut the text into consecutive texts at line ends.

        Each cut is moved to the first line end at or after it, where the end of a file counts as a line end;
        after the last line end it is not moved. Shares refer to bytes as stored, after decompression;
        compressed files are read once to count them.

        Args:
            shares: The share of each text; the sum is 1.

        Returns:
            A text for each share.

        Raises:
            DataError: A file is missing or damaged, or the text is so short that a share would be empty.
        """
        total = self.measure()
        places = [round(sum(shares[:count]) * total) for count in range(1, len(shares))]
        return self.cut([self._line_end(place) for place in places])

    def cut(self, places: Sequence[int]) -> tuple[TextSource, ...]:
        """Cut the text at the given places.

        Args:
            places: Where each text but the first begins, in bytes as stored, after decompression.

        Returns:
            One more text than there are places.

        Raises:
            DataError: A file is missing or damaged, or a text would be empty.
        """
        total = self.measure()
        if not total:
            raise self._empty()
        spans = pairwise([0, *places, total])
        texts = tuple(TextSource(self.name, self._between(start, end)) for start, end in spans)
        if not all(text.parts for text in texts):
            raise DataError.at(
                self.name,
                None,
                f"expected a text that can be split into {len(texts)} parts, got one of {total:,} bytes, too "
                "short or with too few lines; give a longer text, or a file for each part",
            )
        return texts

    def _empty(self) -> DataError:
        return DataError.at(self.name, None, "expected some text, got an empty one; give a text with content")

    @cached_property
    def _stored_sizes(self) -> list[int]:
        return [
            sum(map(len, part.stored_chunks())) if (size := part.stored_size) is None else size
            for part in self.parts
        ]

    def _between(self, start: int, end: int) -> tuple[TextPart, ...]:
        sizes = self._stored_sizes
        ranges = [
            (part, max(start - before, 0), min(end - before, size))
            for part, size, before in zip(self.parts, sizes, accumulate(sizes, initial=0), strict=False)
        ]
        return tuple(part.between(first, last) for part, first, last in ranges if first < last)

    def _line_end(self, place: int) -> int:
        # From a byte before the place, because a line may end exactly there.
        parts = self._between(place - 1, self.measure()) if place else ()
        if not parts:
            return place
        searched = place - 1
        character = 0
        for chunk in parts[0].stored_chunks():
            found = chunk.find(b"\n")
            if found >= 0:
                return searched + found + 1
            character = character or _character_start(chunk, range(1, len(chunk))[:_LONGEST_CHARACTER])
            searched += len(chunk)
        # The end of a file ends a line, and a JSON line is never cut.
        return searched if len(parts) > 1 or parts[0].origin is None else place - 1 + character


def _cut(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a text into blocks, at the same places regardless of its chunks."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        while len(rest) > BLOCK_BYTES:
            end = _block_end(rest)
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _block_end(text: bytes) -> int:
    """Choose the end of a block: a line end, else before white space, else the end of a character."""
    white_space = max(text.rfind(space, 0, BLOCK_BYTES) for space in (b" ", b"\t"))
    return (
        text.rfind(b"\n", 0, BLOCK_BYTES) + 1
        or len(text[: white_space + 1].rstrip(b" \t\r"))
        or _character_start(text, range(BLOCK_BYTES, BLOCK_BYTES - _LONGEST_CHARACTER, -1))
    )


def _character_start(text: bytes, places: range) -> int:
    """Return the first of some places where a UTF-8 character begins, or the first place if none does."""
    return next((place for place in places if text[place] & 0xC0 != 0x80), places.start)
