"""Writes a token file so that an interrupted run is continued, not repeated."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sru_data.atomic import atomic_write, replace
from sru_data.errors import DataError
from sru_data.texts.source import TextSource
from sru_data.token_files.files import (
    SUFFIX,
    Description,
    RunningCounts,
    TextCounts,
    TokenType,
    token_bytes,
    token_size,
    token_type,
)
from sru_data.token_files.records import write_record
from sru_data.tokenizers import Tokenizer, encode_block

# What a kill can cost: so many blocks, of about 1 MiB of text each, are encoded again.
_BLOCKS_PER_ENTRY = 8


@dataclass(frozen=True)
class _Journal:
    """How much of the unfinished file is known to be on the disk."""

    blocks: int = 0
    crc32: int = 0
    running: RunningCounts = field(default_factory=RunningCounts)

    @classmethod
    def read(cls, path: Path) -> _Journal:
        """Read the journal; if it is missing or damaged, nothing is done yet."""
        try:
            content = json.loads(path.read_bytes())
            running = content["running"]
            counts = TextCounts(**running.pop("counts"))
            return cls(content["blocks"], content["crc32"], RunningCounts(counts, **running))
        except (OSError, ValueError, TypeError, KeyError):
            return cls()

    def write(self, path: Path) -> None:
        with atomic_write(path) as file:
            file.write(json.dumps(asdict(self)).encode())


class SplitFiles(NamedTuple):
    """The files of a split: the first two when it is finished, the last two while it is not."""

    tokens: Path
    description: Path
    partial: Path
    journal: Path

    @property
    def are_written(self) -> bool:
        """Whether the split is finished."""
        return self.tokens.is_file() and self.description.is_file()


def split_files(folder: Path, split: str) -> SplitFiles:
    """Return where the files of a split are."""
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
        files: The files, which belong to this process alone.
        tokenizer: Makes the ids, the same as in the interrupted run.
        digest: The digest of the tokenizer's file.

    Yields:
        The counts so far, after each block.

    Raises:
        DataError: The text is empty or cannot be encoded, or the file cannot be written.
    """
    dtype = token_type(len(tokenizer))
    try:
        done = yield from _write(source, files, tokenizer, dtype)
        counts = done.running.counts
        if not counts.tokens:
            raise DataError(f"{source.name}: expected some text, got an empty one")
        description = Description(dtype, len(tokenizer), counts, source.fingerprint, digest, done.crc32)
        write_record(files.description, description)
        # The ids get their name last: a file of that name is finished.
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


def _write(
    source: TextSource,
    files: SplitFiles,
    tokenizer: Tokenizer,
    dtype: TokenType,
) -> Generator[TextCounts, None, _Journal]:
    done = _Journal.read(files.journal)
    with files.partial.open("ab") as file:
        if file.tell() < done.running.counts.tokens * token_size(dtype):
            done = _Journal()
        file.truncate(done.running.counts.tokens * token_size(dtype))
        file.seek(0, os.SEEK_END)
        for block in source.blocks(done.blocks):
            ids = encode_block(tokenizer, block)
            content = token_bytes(ids, dtype)
            file.write(content)
            done = _Journal(
                done.blocks + 1, zlib.crc32(content, done.crc32), done.running.add(block, tokens=len(ids))
            )
            if done.blocks % _BLOCKS_PER_ENTRY == 0:
                _reach_disk(file)
                done.write(files.journal)
            yield done.running.counts
        _reach_disk(file)
        done.write(files.journal)
    return done


def _reach_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
