"""The lines of a file as text, plain or compressed, so that every error names the line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from sru_data.errors import DataError
from sru_data.reading import decode, line_blocks
from sru_data.texts import TextFile

ENCODING_REMEDY = (
    "convert the file, as with `iconv -f CP1252 -t UTF-8`, or set `encoding` where that is an option"
)
"""What to do about bytes that are not in the encoding of a table."""
_ASCII = bytes(range(128))


def check_encoding(encoding: str) -> None:
    r"""Refuse an encoding in which `\n` does not end a line.

    Args:
        encoding: Its name in Python.

    Raises:
        ValueError: It is unknown, or does not extend ASCII.
    """
    try:
        extends_ascii = _ASCII.decode(encoding) == _ASCII.decode("ascii")
    except (LookupError, ValueError):
        extends_ascii = False
    if not extends_ascii:
        raise ValueError(
            f"encoding must be one that Python supports and that extends ASCII, such as 'utf-8' or 'cp1252', "
            f"got {encoding!r}; convert other files, as with `iconv -f UTF-16 -t UTF-8`"
        )


def text_lines(path: Path, encoding: str) -> Iterator[str]:
    r"""Yield the lines of a file with their ends, which are `\n` or `\r\n`.

    Args:
        path: The file; the suffix of its name determines the compression.
        encoding: Its encoding, one that extends ASCII.

    Raises:
        DataError: It is missing or damaged, is in another encoding, or has a NUL byte or a line of more than
            32 MiB.
    """
    for line, block in line_blocks(TextFile.at(path).stored_chunks(), path=path):
        if b"\0" in block:
            before = block[: block.index(b"\0")]
            raise DataError.at(
                path,
                line + before.count(b"\n"),
                "expected text, got a NUL byte; convert the file, as with `iconv -f UTF-16 -t UTF-8`",
            )
        yield from io.StringIO(_decode(block, encoding, path, line), newline="\n")


def _decode(block: bytes, encoding: str, path: Path, line: int) -> str:
    try:
        return str(block, encoding)
    except UnicodeDecodeError as error:
        # Decode the one line again, because a message names the line and the byte in it.
        start = block.rfind(b"\n", 0, error.start) + 1
        end = block.find(b"\n", error.start)
        number = line + block.count(b"\n", 0, start)
        decode(
            block[start : end if end >= 0 else None],
            encoding,
            path=path,
            line=number,
            remedy=ENCODING_REMEDY,
        )
        raise DataError.at(path, number, f"expected text in {encoding}: {error.reason}") from error
