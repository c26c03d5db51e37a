"""Blocks of text, always cut at the same places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sru_data.errors import decode

BLOCK_BYTES = 1 << 20
_LONGEST_CHARACTER = 4


class Block(bytes):
    """A piece of a text that knows where it comes from."""

    place: str
    """The file, or the name of the text."""
    offset: int | None
    """Where it begins in the decompressed file, in bytes; None if that means nothing (JSON lines)."""

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


def cut(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a text into blocks of at most `BLOCK_BYTES`, whatever the chunks it is read in.

    Args:
        chunks: The text.
    """
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


def character_start(text: bytes, place: int) -> int:
    """Return the first place at or after this one where a character of UTF-8 begins, if there is one near.

    Args:
        text: The text.
        place: Where to begin.
    """
    ends = range(place, min(place + _LONGEST_CHARACTER, len(text)))
    return next((end for end in ends if _begins_character(text[end])), place)


def _block_end(text: bytes) -> int:
    """Choose the end of a block: a line end, else before white space, else the end of a character."""
    white_space = max(text.rfind(space, 0, BLOCK_BYTES) for space in (b" ", b"\t"))
    characters = range(BLOCK_BYTES, BLOCK_BYTES - _LONGEST_CHARACTER, -1)
    return (
        text.rfind(b"\n", 0, BLOCK_BYTES) + 1
        or len(text[: white_space + 1].rstrip(b" \t\r"))
        or next((end for end in characters if _begins_character(text[end])), BLOCK_BYTES)
    )


def _begins_character(byte: int) -> bool:
    return byte & 0xC0 != 0x80
