"""Writes a token file such that an interrupted run is continued and not repeated."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sru_data.atomic import atomic_write, replace
from sru_data.errors import DataError
from sru_data.text import TextSource, encode_block
from sru_data.token_files.counts import RunningCounts, TextCounts
from sru_data.token_files.files import (
    SUFFIX,
    Description,
    TokenType,
    token_bytes,
    token_size,
    token_type,
)
from sru_data.tokenizers import Tokenizer

# What a kill can cost: so many blocks, of about 1 MiB of text each, are made again.
_BLOCKS_PER_ENTRY = 8


@dataclass(frozen=True)
class _Journal:
    """How far the unfinished file is known to be on the disk."""

    blocks: int = 0
    crc32: int = 0
    running: RunningCounts = field(default_factory=RunningCounts)

    @classmethod
    def read(cls, path: Path) -> _Journal:
        """Read the journal; one that is missing or damaged means that nothing is done."""
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


def split_files(folder: Path, split: str) -> SplitFiles:
    """Return where the files of a split lie."""
    name = f"{split}{SUFFIX}"
    return SplitFiles(
        folder / name, folder / f"{split}.json", folder / f"{name}.partial", folder / f"{name}.journal"
    )


def is_written(folder: Path, split: str) -> bool:
    """Whether a split is finished."""
    files = split_files(folder, split)
    return files.tokens.is_file() and files.description.is_file()


def write_split(
    source: TextSource,
    folder: Path,
    split: str,
    *,
    tokenizer: Tokenizer,
    digest: str,
    report: Callable[[TextCounts], None],
) -> None:
    """Write the token file of one split, from where an interrupted run left it.

    Args:
        source: The text, the same as in the interrupted run.
        folder: The folder, which belongs to this process alone.
        split: The name of the split.
        tokenizer: Makes the ids, as in the interrupted run.
        digest: The digest of the tokenizer's file.
        report: Called after each block with what is done.

    Raises:
        DataError: The text is empty or cannot be encoded, or the file cannot be written.
    """
    files = split_files(folder, split)
    dtype = token_type(len(tokenizer))
    try:
        done = _write(source, files, tokenizer, dtype, report)
        if not done.running.counts.tokens:
            raise DataError(f"{source.name}: expected a text, got an empty one")
        Description(dtype, len(tokenizer), done.running.counts, source.fingerprint, digest, done.crc32).write(
            files.description
        )
        # The ids get their name last: a file of that name is finished.
        replace(files.partial, files.tokens)
        files.journal.unlink(missing_ok=True)
    except OSError as error:
        raise DataError.at(
            error.filename or folder,
            None,
            f"expected to prepare {source.name} in {folder}, got: {error.strerror or error}; "
            "once that is put right, start again to continue",
        ) from error


def _write(
    source: TextSource,
    files: SplitFiles,
    tokenizer: Tokenizer,
    dtype: TokenType,
    report: Callable[[TextCounts], None],
) -> _Journal:
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
            report(done.running.counts)
        _reach_disk(file)
        done.write(files.journal)
    return done


def _reach_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
