"""Texts that may be larger than memory, read in blocks that are always cut at the same places."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sru_data.errors import DataError
from sru_data.text_files import MemoryText, TextFile, TextPart

if TYPE_CHECKING:
    from torch import Tensor

    from sru_data.tokenizers import Tokenizer

BLOCK_BYTES = 1 << 20
_LONGEST_CHARACTER = 4

Unit = Literal["words", "characters", "bytes", "subwords"]


class Block(bytes):
    """A piece of a text, which knows where it comes from."""

    place: str
    """The file, or the name of the text."""
    offset: int | None
    """Where it begins in the decompressed file, in bytes; None where that says nothing (JSON lines)."""

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
        try:
            return super().decode(encoding, errors)
        except UnicodeDecodeError as error:
            at = error.start + (self.offset or 0)
            raise DataError(
                f"{self.place}: expected text in {encoding}, got the byte 0x{self[error.start]:02x} at byte "
                f"{at:,} ({error.reason}); convert the file, or read it as bytes"
            ) from error


@dataclass(frozen=True)
class TextSource:
    """A text in one part or several, such as the files of a corpus, one after the other.

    It is read anew, from its beginning, by each call of `blocks`, and never held in memory as a whole.
    """

    name: str
    """What to call it in messages."""
    parts: tuple[TextPart, ...]
    """The parts in their order."""

    @classmethod
    def from_files(
        cls, paths: str | Path | Sequence[str | Path], *, name: str | None = None, text_field: str = "text"
    ) -> TextSource:
        """Make a text of one file or several in a row.

        Files that end in `.xz`, `.gz` or `.bz2` are decompressed. Of a file that ends in `.jsonl`, before any
        such ending, each line is a JSON object whose `text_field` is taken, followed by a line feed.

        Args:
            paths: The file or files.
            name: What to call the text in messages; by default the path of the first file.
            text_field: The field of JSON lines that holds the text.

        Raises:
            ValueError: There is no file.
            DataError: A file is missing.
        """
        files = [paths] if isinstance(paths, (str, Path)) else list(paths)
        if not files:
            raise ValueError("TextSource.from_files: paths must hold at least one file, got none")
        parts = tuple(TextFile.at(path, text_field=text_field) for path in files)
        return cls(name or parts[0].place, parts)

    @classmethod
    def from_text(cls, text: str, *, name: str) -> TextSource:
        """Make a text of a string.

        Args:
            text: The text.
            name: What to call it in messages.
        """
        return cls(name, (MemoryText(name, text.encode("utf-8")),))

    @property
    def size(self) -> int | None:
        """The length in bytes, where it is known without reading the text."""
        sizes = [part.size for part in self.parts]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def measure(self) -> int:
        """Return the length in bytes as they are stored, after decompression; reads compressed files.

        Raises:
            DataError: A file is missing or damaged.
        """
        return sum(self._stored_sizes())

    @property
    def fingerprint(self) -> str:
        """A short text that differs between texts that differ.

        It is made of the names, the sizes, the byte ranges and the formats of the files and of samples from
        the beginning, the middle and the end of each; an edit elsewhere that keeps the size goes unnoticed.

        Raises:
            DataError: A file is missing.
        """
        identities = [part.identity() for part in self.parts]
        return hashlib.sha256(json.dumps([BLOCK_BYTES, identities]).encode()).hexdigest()

    def blocks(self, skip: int = 0) -> Iterator[Block]:
        """Yield the text in blocks of at most `BLOCK_BYTES`; together they are the whole text.

        A block ends where a line ends. Only within a line that is longer than a block it ends before white
        space, or where there is none, at the end of a character. Blocks do not span files. Where the blocks
        are cut depends on nothing but the content.

        Args:
            skip: How many blocks to leave out at the beginning.

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

        Each cut is at the first line end at or after its place, the end of a file counting as one; behind the
        last line end it is at the place itself. The shares are of the bytes as they are stored, after
        decompression; compressed files are read once to count them.

        Args:
            shares: The share of each text; together 1.

        Returns:
            A text for each share.

        Raises:
            DataError: A file is missing or damaged, or the text is too short to give each share something.
        """
        sizes = self._stored_sizes()
        total = sum(sizes)
        places = [round(sum(shares[:count]) * total) for count in range(1, len(shares))]
        return self.cut([self._line_end(place, sizes) for place in places], sizes)

    def cut(self, places: Sequence[int], sizes: Sequence[int] | None = None) -> tuple[TextSource, ...]:
        """Cut the text at some places.

        Args:
            places: Where each text but the first begins, in bytes as they are stored, after decompression.
            sizes: The sizes of the parts, where they have been counted already.

        Returns:
            One text more than there are places.

        Raises:
            DataError: A file is missing or damaged, or a text would be empty.
        """
        sizes = self._stored_sizes() if sizes is None else sizes
        if not sum(sizes):
            raise self._empty()
        ends = [0, *places, sum(sizes)]
        texts = [self._between(start, end, sizes) for start, end in pairwise(ends)]
        if not all(text.parts for text in texts):
            raise DataError.at(
                self.name,
                None,
                f"expected a text that can be cut into {len(texts)}, got one of {sum(sizes):,} bytes, too "
                "short or of too few lines; give a longer text, or a file for each part",
            )
        return tuple(texts)

    def _empty(self) -> DataError:
        return DataError.at(self.name, None, "expected some text, got an empty one; give one that is not")

    def _stored_sizes(self) -> list[int]:
        known = [part.stored_size for part in self.parts]
        return [
            sum(map(len, part.stored_chunks())) if size is None else size
            for part, size in zip(self.parts, known, strict=True)
        ]

    def _line_end(self, place: int, sizes: Sequence[int]) -> int:
        before = 0
        for part, size in zip(self.parts, sizes, strict=True):
            if before < place <= before + size:
                # From a byte before the place, as a line may end exactly there.
                searched = place - before - 1
                character = 0
                for chunk in part.between(searched, size).stored_chunks():
                    found = chunk.find(b"\n")
                    if found >= 0:
                        return before + searched + found + 1
                    character = character or _character_start(chunk, 1)
                    searched += len(chunk)
                # Another file begins a line of its own.
                return place - 1 + character if part is self.parts[-1] else before + size
            before += size
        return place

    def _between(self, start: int, end: int, sizes: Sequence[int]) -> TextSource:
        parts: list[TextPart] = []
        before = 0
        for part, size in zip(self.parts, sizes, strict=True):
            inner_start, inner_end = max(start - before, 0), min(end - before, size)
            if inner_start < inner_end:
                parts.append(part.between(inner_start, inner_end))
            before += size
        return TextSource(self.name, tuple(parts))


def encode_block(tokenizer: Tokenizer, block: bytes) -> Tensor:
    """Return the ids of a block of text.

    Args:
        tokenizer: Any; one of bytes takes the block as it is, others as UTF-8.
        block: A block of `TextSource.blocks`, or any other bytes.

    Returns:
        (tokens,) int64, of no tokens for an empty block.

    Raises:
        DataError: The block is not UTF-8; the message names the file and the byte.
    """
    import torch

    from sru_data.tokenizers.bytes import ByteTokenizer

    if not block:
        return torch.empty(0, dtype=torch.int64)
    if isinstance(tokenizer, ByteTokenizer):
        return tokenizer.encode_bytes(block)
    text = (block if isinstance(block, Block) else Block(block)).decode()
    return torch.tensor(tokenizer.encode(text), dtype=torch.int64)


def _cut(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a text into blocks, at the same places however it comes in chunks."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        start = 0
        while len(rest) - start > BLOCK_BYTES:
            end = start + _block_end(rest[start : start + BLOCK_BYTES + 1])
            yield rest[start:end]
            start = end
        rest = rest[start:]
    if rest:
        yield rest


def _block_end(text: bytes) -> int:
    line_end = text.rfind(b"\n", 0, BLOCK_BYTES) + 1
    if line_end:
        return line_end
    white_space = max(text.rfind(space, 0, BLOCK_BYTES) for space in (b" ", b"\t"))
    word_end = len(text[: white_space + 1].rstrip(b" \t\r"))
    if word_end:
        return word_end
    for end in range(BLOCK_BYTES, BLOCK_BYTES - _LONGEST_CHARACTER, -1):
        if _begins_character(text[end]):
            return end
    return BLOCK_BYTES


def _character_start(text: bytes, place: int) -> int:
    ends = range(place, min(place + _LONGEST_CHARACTER, len(text)))
    return next((end for end in ends if _begins_character(text[end])), place)


def _begins_character(byte: int) -> bool:
    return byte & 0xC0 != 0x80
