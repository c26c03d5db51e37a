"""Text in UTF-8, regardless of the locale: lines of a file or of standard input, and standard output."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sru_apps.train.errors import UserError
from sru_data.reading import UNPRINTABLE, without_mark


def use_utf8() -> None:
    """Print UTF-8, regardless of the locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def on_one_line(text: str) -> str:
    """Replace characters that would end a line or a column with spaces."""
    return UNPRINTABLE.sub(" ", text)


MAX_LINE = 1 << 20
"""The maximum number of bytes of a line or a prompt; longer ones are refused before they fill memory."""
_CHUNK = 1 << 16


def decode(content: bytes, name: str, limit: int = MAX_LINE) -> str:
    """Decode UTF-8.

    Args:
        content: The text.
        name: Its source, for messages.
        limit: The maximum number of bytes.

    Raises:
        UserError: It is too long, or not UTF-8.
    """
    if len(content) > limit:
        raise UserError(f"{name} is longer than {limit:,} bytes; shorten it")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 at byte {error.start}; convert it first") from error


def read_text(file: str | None) -> str:
    """Read a file in UTF-8, or standard input.

    Raises:
        UserError: It cannot be read, is not UTF-8, or is longer than `MAX_LINE`.
        DataError: It is UTF-16.
    """
    with _opened(file) as (stream, name):
        return decode(without_mark(stream.read(MAX_LINE + 1), path=name), name, MAX_LINE)


@contextmanager
def input_lines(file: str | None = None, *, limit: int = MAX_LINE) -> Iterator[Iterator[list[str]]]:
    """Open a file, or standard input, to read its lines as they arrive.

    Args:
        file: The file.
        limit: The maximum number of bytes of a line.

    Yields:
        An iterator over lines without their ends; lines that arrive together are in one list.

    Raises:
        UserError: The file cannot be read, or, later, a line is not UTF-8 or too long.
        DataError: It is UTF-16.
    """
    with _opened(file) as (stream, name):
        yield _lines(stream, name, limit)


@contextmanager
def _opened(file: str | None) -> Iterator[tuple[Any, str]]:
    if file is None:
        # Standard input may be missing, or replaced by a stream of text without bytes.
        text = sys.stdin.read() if sys.stdin and not hasattr(sys.stdin, "buffer") else ""
        yield getattr(sys.stdin, "buffer", io.BytesIO(text.encode())), "standard input"
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - closed below; an error in there is another one
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    with stream:
        yield stream, file


def _lines(stream: Any, name: str, limit: int) -> Iterator[list[str]]:
    def text(number: int, line: bytes) -> str:
        line = without_mark(line, path=name) if number == 1 else line
        return decode(line, f"line {number} of {name}", limit)

    count, rest = 0, b""
    while chunk := stream.read1(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield [text(number, line) for number, line in enumerate(lines, count + 1)]
        count += len(lines)
        if len(rest) > limit:
            break
    if rest and (last := text(count + 1, rest)):
        yield [last]
