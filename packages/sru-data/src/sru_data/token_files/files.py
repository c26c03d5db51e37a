"""A text as ids in a file that is mapped into memory."""

from __future__ import annotations

import json
import mmap
import sys
import warnings
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from sru_data.atomic import atomic_write
from sru_data.errors import DataError
from sru_data.token_files.counts import TextCounts

FORMAT = 1
SUFFIX = ".tokens"
TokenType = Literal["uint16", "int32"]
_DTYPES: dict[TokenType, torch.dtype] = {"uint16": torch.uint16, "int32": torch.int32}
_UINT16_VALUES = 1 << 16
# Checking this much takes less than a tenth of a second.
_ALWAYS_VERIFIED_BYTES = 1 << 26
_REMEDY = "delete this file and prepare the text again"


@dataclass(frozen=True)
class Description:
    """What `NAME.json` says of `NAME.tokens`."""

    dtype: TokenType
    """The type of an id: uint16 where the vocabulary has no more than 65,536, else int32."""
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

    def write(self, path: Path) -> None:
        """Write the description."""
        content = json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"
        with atomic_write(path) as file:
            file.write(content.encode())


@dataclass(frozen=True, eq=False)
class TokenFile:
    """The ids of one text.

    `NAME.tokens` holds the ids and nothing else, little-endian; `NAME.json` beside it says what they are.
    """

    path: Path
    """The file of the ids."""
    tokens: Tensor
    """(tokens,) uint16 or int32, mapped: no memory but the system's cache is used. They are read-only; to
    write to them ends the process."""
    description: Description
    """What is known of them."""

    @classmethod
    def open(cls, path: str | Path, *, verify: bool | None = None) -> TokenFile:
        """Map a token file into memory.

        Args:
            path: `NAME.tokens`.
            verify: Whether to read all of it and compare its checksum; None does that for up to 64 MiB.
                The size is always compared.

        Raises:
            DataError: The file or its description is missing, damaged, of another version, or empty.
        """
        path = Path(path)
        description = read_description(path.with_suffix(".json"), path)
        if sys.byteorder != "little":
            raise DataError.at(path, None, "expected a little-endian machine, got a big-endian one")
        tokens = _map(path, description)
        opened = cls(path, tokens, description)
        if verify or (verify is None and description.size <= _ALWAYS_VERIFIED_BYTES):
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
        """Read the whole file and compare its checksum.

        Raises:
            DataError: The content is not what was written.
        """
        found = 0
        with self.path.open("rb") as file:
            while chunk := file.read(1 << 20):
                found = zlib.crc32(chunk, found)
        if found != self.description.crc32:
            raise DataError.at(
                self.path,
                None,
                f"expected ids with the checksum {self.description.crc32:08x}, got {found:08x}; "
                f"the file is damaged, {_REMEDY}",
            )


def token_type(vocabulary: int) -> TokenType:
    """Return the smallest type that holds the ids 0 to vocabulary - 1."""
    return "uint16" if vocabulary <= _UINT16_VALUES else "int32"


def token_size(dtype: TokenType) -> int:
    """Return the bytes that an id takes."""
    return _DTYPES[dtype].itemsize


def token_bytes(ids: Tensor, dtype: TokenType) -> bytearray:
    """Return ids as they are in a file.

    Args:
        ids: (tokens,) of any integer type.
        dtype: The type in the file.
    """
    content = bytearray(len(ids) * token_size(dtype))
    if content:
        torch.frombuffer(content, dtype=_DTYPES[dtype]).copy_(ids)
    return content


def read_description(path: Path, tokens: Path) -> Description:
    """Read what `Description.write` wrote.

    Args:
        path: The description.
        tokens: The file that it describes, for the error messages.

    Raises:
        DataError: It is missing, damaged or of another version.
    """
    content = read_json(
        path, missing=f"expected the description of {tokens.name}, got no such file; prepare the text again"
    )
    try:
        description = Description(**{**content, "counts": TextCounts(**content["counts"])})
        known = description.dtype == token_type(description.vocabulary) and description.size >= 0
    except (TypeError, KeyError):
        known = False
    if not known:
        raise DataError.at(path, None, f"expected the description of a token file, got other JSON; {_REMEDY}")
    return description


def read_json(path: Path, *, missing: str) -> dict[str, Any]:
    """Read a JSON object of this package's format, without its version.

    Args:
        path: The file.
        missing: What to say where there is none.

    Raises:
        DataError: It is missing, damaged or of another version.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError.at(path, None, missing) from error
    except (OSError, ValueError) as error:
        raise DataError.at(path, None, f"expected JSON, got: {error}; {_REMEDY}") from error
    version = content.pop("format", None) if isinstance(content, dict) else None
    if version != FORMAT:
        raise DataError.at(
            path, None, f"expected format {FORMAT}, got {version!r}; it is of another version, {_REMEDY}"
        )
    return dict(content)


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
            f"the file is {'cut short' if size < description.size else 'not the one described'}, {_REMEDY}",
        )
    if not size:
        raise DataError.at(path, None, "expected ids, got an empty file; give a text that is not empty")
    # torch.from_file maps for writing, which the system refuses for more than it has memory.
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return torch.frombuffer(mapped, dtype=_DTYPES[description.dtype])
