"""Opens, reads and decodes text files, with errors that name the location."""

from __future__ import annotations

import codecs
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from io import BufferedReader
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from sru_data.errors import DataError

MAX_FILE_BYTES = 1 << 27
"""The maximum size of a file that is read as a whole, such as a tokenizer or labelled sentences: 128 MiB."""
MAX_LINE_BYTES = 1 << 25
"""The maximum length of a line that is a record, as in JSON lines: 32 MiB."""
MAX_WORD_BYTES = 1 << 24
"""The maximum distance between white space in a text: 16 MiB."""
MAX_SENTENCE_BYTES = 1 << 16
"""The maximum length of a sentence to classify: 64 KiB, about 10,000 words."""
MAX_PASSAGE_CHARACTERS = 1 << 17
"""The maximum length of a passage to ask questions about: 131,072 characters, about 25,000 words."""
MAX_JSON_VALUES = 1 << 21
"""The maximum number of values in a record."""
# Not `isprintable`, which refuses emoji joiners and non-breaking spaces.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters not allowed in the name of a class, which is printed in lines and columns."""

HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")
"""Surrogates, which JSON can represent and UTF-8 cannot."""

_LONGEST_MARK = 4
_UTF32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, *_UTF32_MARKS)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def why_not_a_file(path: str | Path) -> str | None:
    """Describe what a path is if it is not a file; return None if it is.

    Args:
        path: The path. A pipe or a device does not count as a file: reading it may never end.
    """
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    except OSError as error:
        return error.strerror
    except ValueError:
        return "a name with a NUL byte"


def open_file(path: str | Path, wrong: str) -> BinaryIO:
    """Open a file for reading.

    Args:
        path: The file.
        wrong: The beginning of the message if that is impossible, such as "expected a tokenizer file, got".

    Raises:
        DataError: There is no file, or it may not be read.
    """
    reason = why_not_a_file(path)
    if reason is None:
        try:
            return open(path, "rb")
        except OSError as error:
            reason = error.strerror
    raise DataError.at(path, None, f"{wrong}: {reason}")


def read_bytes(path: str | Path, *, expected: str, limit: int = MAX_FILE_BYTES) -> bytes:
    """Read a whole file, without its byte-order mark.

    Args:
        path: The file.
        expected: What it should be, such as "a tokenizer file".
        limit: The maximum size in bytes.

    Raises:
        DataError: The file cannot be read, is larger, or is UTF-16.
    """
    with open_file(path, f"expected {expected}, got") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise DataError.at(path, None, f"expected {expected} of at most {limit:,} bytes, got a larger one")
    return without_mark(content, path=path)


def read_lines(
    file: BinaryIO, *, path: str | Path, start: int = 1, limit: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers and line ends, without a byte-order mark.

    Args:
        file: The file.
        path: Its path, for messages.
        start: The number of the next line of the file.
        limit: The maximum length of a line in bytes.

    Raises:
        DataError: A line is longer, or the file is UTF-16.
    """
    for number in count(start):
        line = file.readline(limit + 1)
        if not line:
            return
        if len(line) > limit:
            raise DataError.at(path, number, f"expected a line of at most {limit:,} bytes, got a longer one")
        yield number, without_mark(line, path=path) if number == 1 else line


def line_blocks(
    chunks: Iterable[bytes], *, path: str | Path, what: str = "a line", limit: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines, those that end in each chunk, with the number of the first line.

    Args:
        chunks: The text, in chunks no longer than a line may be.
        path: Its file, for messages.
        what: What a line is, for messages.
        limit: The maximum length of a line in bytes.

    Raises:
        DataError: A line is longer.
    """
    rest: list[bytes] = []
    number = 1
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if sum(map(len, rest)) + (chunk.find(b"\n") if end else len(chunk)) > limit:
            raise DataError.at(path, number, f"expected {what} of at most {limit:,} bytes, got a longer one")
        if end:
            block = b"".join([*rest, chunk[:end]])
            yield number, block
            number += block.count(b"\n")
            rest.clear()
        rest.append(chunk[end:])
    if any(rest):
        yield number, b"".join(rest)


def without_mark(content: bytes, *, path: str | Path) -> bytes:
    """Return the beginning of a text without the byte-order mark that some editors put there.

    Every reader of text calls this, and nothing else handles byte-order marks.

    Args:
        content: The beginning of the text, or all of it.
        path: The file, for the message.

    Raises:
        DataError: The mark is that of UTF-16 or UTF-32.
    """
    if content.startswith(_WIDE_MARKS):
        name = "UTF-32" if content.startswith(_UTF32_MARKS) else "UTF-16"
        raise DataError.at(
            path, None, f"expected text in UTF-8, got {name}; convert it, as with `iconv -f {name} -t UTF-8`"
        )
    return content.removeprefix(codecs.BOM_UTF8)


def skip_mark(file: BufferedReader, *, path: str | Path) -> int:
    """Skip a byte-order mark, and return its length.

    Args:
        file: The file, at its beginning.
        path: Its path, for messages.

    Raises:
        DataError: The mark is that of UTF-16 or UTF-32.
    """
    head = file.peek(_LONGEST_MARK)[:_LONGEST_MARK]
    return len(file.read(len(head) - len(without_mark(head, path=path))))


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Args:
        text: The JSON.

    Raises:
        ValueError: It is not JSON, is nested too deeply, or has too many values to fit in memory.
    """
    marks = ("[", "{", ",") if isinstance(text, str) else (b"[", b"{", b",")
    if sum(map(text.count, marks)) > MAX_JSON_VALUES:  # type: ignore[arg-type]
        raise ValueError(f"more than {MAX_JSON_VALUES:,} values")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(str(error)) from error


_WINDOWS = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0xA0)}


def decode_western(content: bytes) -> str:
    """Decode a line of a file with lines in several encodings: as UTF-8, or else as Windows-1252.

    Windows-1252 is latin-1 with quotes and dashes in place of control characters. The five bytes that it
    leaves undefined become the control characters of latin-1, as in browsers, so every line can be decoded.

    Args:
        content: The bytes.
    """
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1").translate(_WINDOWS)


def decode(
    content: bytes,
    encoding: str,
    *,
    path: str | Path,
    line: int | None = None,
    offset: int = 0,
    errors: str = "strict",
    remedy: str = "convert the file",
) -> str:
    """Decode bytes of a file.

    Args:
        content: The bytes.
        encoding: Their encoding.
        path: The file, for the error message.
        line: The line they are on, if they are one line.
        offset: The position of the first byte in the file, for the error message.
        errors: As for `bytes.decode`.
        remedy: What to do if they are not in this encoding.

    Raises:
        DataError: The bytes are not in this encoding.
    """
    try:
        return str(content, encoding, errors)
    except UnicodeDecodeError as error:
        raise DataError.at(
            path,
            line,
            f"expected text in {encoding}, got the byte 0x{content[error.start]:02x} at byte "
            f"{error.start + offset:,} ({error.reason}); {remedy}",
        ) from error
