"""Writes a token file so that an interrupted run is continued, not repeated."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sru_data.atomic import open_partial, replace, synchronise
from sru_data.errors import DataError
from sru_data.prepared_folders import read_record, write_record
from sru_data.texts.source import TextSource
from sru_data.token_files.files import (
    FORMAT,
    REMEDY,
    SUFFIX,
    Description,
    TextCounts,
    token_bytes,
    token_size,
    token_type,
)
from sru_data.tokenizers import Tokenizer, encode_block

# After a kill, at most this many blocks, of about 1 MiB of text each, are encoded again.
_BLOCKS_PER_ENTRY = 8
# Every character of UTF-8 has exactly one byte outside this range.
_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))


@dataclass(frozen=True)
class Journal:
    """How much of an unfinished file is known to be on the disk.

    The text comes in blocks, which may end within a line, a word or a character.
    """

    counts: TextCounts = field(default_factory=TextCounts)
    blocks: int = 0
    crc32: int = 0
    ends_in_word: bool = False
    ends_in_line: bool = False

    def add(self, block: bytes, *, tokens: int, stored: bytes | bytearray = b"") -> Journal:
        """Return the journal with one more block.

        Args:
            block: The bytes of text that follow, at least one.
            tokens: The number of ids produced from them.
            stored: The ids as they are stored.
        """
        counts = self.counts
        same_word = self.ends_in_word and not block[:1].isspace()
        ends_in_line = not block.endswith(b"\n")
        return Journal(
            TextCounts(
                tokens=counts.tokens + tokens,
                bytes=counts.bytes + len(block),
                characters=counts.characters + len(block.translate(None, _CONTINUATION_BYTES)),
                words=counts.words + len(block.split()) - same_word,
                lines=counts.lines + block.count(b"\n") + ends_in_line - self.ends_in_line,
            ),
            self.blocks + 1,
            zlib.crc32(stored, self.crc32),
            ends_in_word=not block[-1:].isspace(),
            ends_in_line=ends_in_line,
        )


class SplitFiles(NamedTuple):
    """The files of a split: the first two once it is finished, the last two until then."""

    tokens: Path
    description: Path
    partial: Path
    journal: Path

    @property
    def are_written(self) -> bool:
        """Whether the split is finished."""
        return self.tokens.is_file() and self.description.is_file()


def split_files(folder: Path, split: str) -> SplitFiles:
    """Return the paths of the files of a split."""
    name = f"{split}{SUFFIX}"
    return SplitFiles(
        folder / name, folder / f"{split}.json", folder / f"{name}.partial", folder / f"{name}.journal"
    )


def write_split(
    source: TextSource,
    files: SplitFiles,
    *,
    tokenizer: Tokenizer,
    digest: str,
) -> Generator[TextCounts, None, None]:
    """Write the token file of one split, continuing an interrupted run.

    Args:
        source: The text, the same as in the interrupted run.
        files: The files, to which no other process writes.
        tokenizer: The tokenizer, the same as in the interrupted run.
        digest: The digest of the tokenizer's file.

    Yields:
        The counts so far, after each block.

    Raises:
        DataError: The text is empty or cannot be encoded, or the file cannot be written.
    """
    dtype = token_type(len(tokenizer))
    try:
        done = Journal()
        # Without a readable journal, nothing is known to be on the disk.
        with contextlib.suppress(DataError):
            done = read_record(
                files.journal,
                Journal,
                expected="a journal",
                missing="expected a journal",
                version=FORMAT,
                remedy=REMEDY,
            )
        with open_partial(files.partial) as file:
            if file.tell() < done.counts.tokens * token_size(dtype):
                done = Journal()
            file.truncate(done.counts.tokens * token_size(dtype))
            for block in source.blocks(done.blocks):
                ids = encode_block(tokenizer, block)
                content = token_bytes(ids, dtype)
                file.write(content)
                done = done.add(block, tokens=len(ids), stored=content)
                if done.blocks % _BLOCKS_PER_ENTRY == 0:
                    synchronise(file)
                    write_record(files.journal, done, version=FORMAT)
                yield done.counts
            synchronise(file)
        if not done.counts.tokens:
            raise DataError(f"{source.name}: expected some text, got an empty one")
        write_record(files.journal, done, version=FORMAT)
        write_record(
            files.description,
            Description(
                dtype,
                vocabulary=len(tokenizer),
                counts=done.counts,
                source=source.fingerprint,
                tokenizer=digest,
                crc32=done.crc32,
            ),
            version=FORMAT,
        )
        # The ids get their final name last: a file of that name is finished.
        replace(files.partial, files.tokens)
        files.journal.unlink(missing_ok=True)
    except OSError as error:
        folder = files.tokens.parent
        raise DataError.at(
            error.filename or folder,
            None,
            f"expected to prepare {source.name} in {folder}, got: {error.strerror or error}; fix that and "
            "start again to continue",
        ) from error
