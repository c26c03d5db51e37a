"""The ids of a text in a memory-mapped file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from sru_data.errors import DataError
from sru_data.prepared_folders import ALWAYS_VERIFIED_BYTES, checksum, map_tensor, read_record

FORMAT = 1
REMEDY = "delete this file and prepare the text again"
SUFFIX = ".tokens"
TokenType = Literal["uint16", "int32"]
_DTYPES: dict[TokenType, torch.dtype] = {"uint16": torch.uint16, "int32": torch.int32}
_UINT16_VALUES = 1 << 16
_INT32_VALUES = 1 << 31


@dataclass(frozen=True)
class TextCounts:
    """The length of a text."""

    tokens: int = 0
    """Ids from the tokenizer."""
    bytes: int = 0
    """Bytes of UTF-8."""
    characters: int = 0
    """Code points, line ends included."""
    words: int = 0
    """Runs of bytes other than ASCII white space; line ends do not count."""
    lines: int = 0
    """Line feeds, and one more if the text does not end in one."""


@dataclass(frozen=True)
class Description:
    """The content of `NAME.json`, which describes `NAME.tokens`."""

    dtype: TokenType
    """The type of an id: uint16 for a vocabulary of at most 65,536, else int32."""
    vocabulary: int
    """The number of ids of the tokenizer."""
    counts: TextCounts
    """The length of the text."""
    source: str
    """The fingerprint of the text."""
    tokenizer: str
    """The digest of the tokenizer's file."""
    crc32: int
    """The checksum of the ids' bytes."""

    @property
    def size(self) -> int:
        """The size of the ids in bytes."""
        return self.counts.tokens * token_size(self.dtype)

    def __post_init__(self) -> None:
        if self.dtype != token_type(self.vocabulary) or min(asdict(self.counts).values()) < 0:
            raise ValueError("the fields do not fit each other")
        if not 0 < self.vocabulary <= _INT32_VALUES:
            raise ValueError(f"a vocabulary of {self.vocabulary}")


@dataclass(frozen=True, eq=False)
class TokenFile:
    """The ids of one text.

    `NAME.tokens` holds the ids and nothing else, little-endian; `NAME.json` next to it describes them.
    """

    path: Path
    """The file of the ids."""
    tokens: Tensor
    """(tokens,) uint16 or int32, memory-mapped: they use no memory beyond the system's cache. They are
    read-only; writing to them crashes the process."""
    description: Description
    """Their description."""

    @classmethod
    def open(cls, path: str | Path, *, verify: bool | None = None) -> TokenFile:
        """Memory-map a token file.

        Args:
            path: `NAME.tokens`.
            verify: Whether to read all of it and compare its checksum; None does so for up to 64 MiB. The
                size is always compared.

        Raises:
            DataError: The file or its description is missing, damaged, of another version, or empty.
        """
        path = Path(path)
        description = read_record(
            path.with_suffix(".json"),
            Description,
            expected="the description of a token file",
            missing=f"expected the description of {path.name}, got no such file; prepare the text again",
            version=FORMAT,
            remedy=REMEDY,
        )
        opened = cls(path, _map(path, description), description)
        if verify or (verify is None and description.size <= ALWAYS_VERIFIED_BYTES):
            opened.verify()
        return opened

    @property
    def counts(self) -> TextCounts:
        """The length of the text in tokens, bytes, characters, words and lines."""
        return self.description.counts

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self.tokens)

    def verify(self) -> None:
        """Read the whole file, compare its checksum and look for ids outside the vocabulary.

        Raises:
            DataError: The content has changed since it was written, or has ids outside the vocabulary.
        """
        found = checksum(self.path)
        if found != self.description.crc32:
            raise DataError.at(
                self.path,
                None,
                f"expected ids with the checksum {self.description.crc32:08x}, got {found:08x}; "
                f"the file is damaged, {REMEDY}",
            )
        # Negative ids are treated like ids that are too large.
        parts = torch.split(self.tokens, 1 << 20)
        largest = max(int((part.to(torch.int64) & 0xFFFFFFFF).max()) for part in parts)
        if largest >= self.description.vocabulary:
            raise DataError.at(
                self.path,
                None,
                f"expected ids of a vocabulary of {self.description.vocabulary:,}, got {largest:,}; {REMEDY}",
            )


def token_type(vocabulary: int) -> TokenType:
    """Return the smallest type that holds the ids 0 to vocabulary - 1."""
    return "uint16" if vocabulary <= _UINT16_VALUES else "int32"


def token_size(dtype: TokenType) -> int:
    """Return the size of an id in bytes."""
    return _DTYPES[dtype].itemsize


def token_bytes(ids: Tensor, dtype: TokenType) -> bytearray:
    """Return ids as they are stored in a file.

    Args:
        ids: (tokens,) of any integer type.
        dtype: The type in the file.
    """
    content = bytearray(len(ids) * token_size(dtype))
    if content:
        torch.frombuffer(content, dtype=_DTYPES[dtype]).copy_(ids)
    return content


def _map(path: Path, description: Description) -> Tensor:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError.at(
            path, None, f"expected a token file, got {error.strerror}; prepare the text again"
        ) from error
    if size != description.size:
        raise DataError.at(
            path,
            None,
            f"expected {description.counts.tokens:,} ids in {description.size:,} bytes, got {size:,} bytes; "
            f"the file is {'truncated' if size < description.size else 'not the one described'}, {REMEDY}",
        )
    if not size:
        raise DataError.at(path, None, "expected ids, got an empty file; give a text with content")
    return map_tensor(path, _DTYPES[description.dtype])
