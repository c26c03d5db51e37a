r"""Features that come with the data: the `.mfc` files of Sphinx and the archives of Kaldi.

A `.mfc` file is a big-endian int32 count and that many big-endian float32 values, frame after frame. A matrix
of a Kaldi archive begins with `\0B` and its kind: float (`FM`), double (`DM`) or one of the compressed kinds
(`CM`, `CM2`, `CM3`).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from sru_data.errors import DataError
from sru_data.reading import open_file

MFC_ENDING = ".mfc"
MAX_FEATURE_BYTES = 1 << 28
"""The maximum size of the features of one utterance: 256 MiB."""
_COMPRESSED_HEAD = struct.Struct("<ffii")
_WIDTHS = {b"FM": 4, b"DM": 8, b"CM": 1, b"CM2": 2, b"CM3": 1}
_REMEDY = "it is damaged or truncated"


def read_mfc(path: str | Path, *, size: int) -> Tensor:
    """Read a `.mfc` file.

    Args:
        path: The file.
        size: The number of features in a frame, which the file does not store.

    Returns:
        (T, size) float32, T at least 1.

    Raises:
        DataError: The file is missing, empty or damaged, or does not hold a whole number of frames.
    """
    with open_file(path, "expected a file of features, got") as file:
        content = file.read(MAX_FEATURE_BYTES + 1)
    _check_size(path, len(content))
    count = int.from_bytes(content[:4], "big", signed=True)
    if len(content) < 4 or len(content) != 4 + 4 * count:
        raise DataError.at(
            path,
            None,
            f"expected a big-endian count and that many float32 values, got {len(content):,} bytes that "
            f"begin with {content[:4].hex() or 'nothing'}; {_REMEDY}",
        )
    if count == 0 or count % size:
        raise DataError.at(
            path,
            None,
            f"expected frames of {size} features, got {count:,} values; set num_bins to the size of a frame",
        )
    # Reverse the big-endian bytes to the byte order of this machine.
    reversed_bytes = torch.frombuffer(bytearray(content[4:]), dtype=torch.uint8).view(-1, 4).flip(1)
    return reversed_bytes.contiguous().view(torch.float32).view(-1, size)


def read_kaldi_matrix(path: str | Path, position: int) -> Tensor:
    """Read one matrix of a binary Kaldi archive.

    Args:
        path: The archive.
        position: The byte offset of the matrix, as after the colon in `feats.scp`.

    Returns:
        (T, F) float32, both at least 1.

    Raises:
        DataError: The file is missing or damaged, or there is no such matrix at this position.

    Source: `CompressedMatrix` in Kaldi, src/matrix/compressed-matrix.h.
    """
    with open_file(path, "expected a Kaldi archive, got") as file:
        file.seek(position)
        mark, kind = file.read(2), _word(file)
        if mark != b"\0B" or kind not in _WIDTHS:
            raise DataError.at(
                path,
                None,
                f"expected a binary matrix at byte {position:,}, got {(mark + kind)[:8]!r}; vectors, text "
                "archives and audio in archives are not supported",
            )
        if kind in (b"FM", b"DM"):
            return _plain(path, file, _WIDTHS[kind])
        return _compressed(path, file, kind)


def _word(file: BinaryIO) -> bytes:
    word = b""
    while len(word) < 4 and (byte := file.read(1)) not in (b" ", b""):
        word += byte
    return word


def _plain(path: str | Path, file: BinaryIO, width: int) -> Tensor:
    head = _exactly(path, file, 10)
    rows, columns = struct.unpack("<xixi", head)
    _check_shape(path, rows, columns, width)
    content = _exactly(path, file, rows * columns * width)
    dtype = torch.float32 if width == 4 else torch.float64
    return torch.frombuffer(content, dtype=dtype).float().view(rows, columns)


def _compressed(path: str | Path, file: BinaryIO, kind: bytes) -> Tensor:
    head: tuple[float, float, int, int] = _COMPRESSED_HEAD.unpack(_exactly(path, file, _COMPRESSED_HEAD.size))
    smallest, spread, rows, columns = head
    width = _WIDTHS[kind]
    _check_shape(path, rows, columns, width)
    if kind != b"CM":
        dtype, top = (torch.uint16, 65535.0) if width == 2 else (torch.uint8, 255.0)
        codes = torch.frombuffer(_exactly(path, file, rows * columns * width), dtype=dtype)
        return (codes.to(torch.float32).view(rows, columns) * (spread / top)) + smallest
    heads = torch.frombuffer(_exactly(path, file, 8 * columns), dtype=torch.uint16)
    quartiles = heads.to(torch.float32).view(columns, 4, 1) * (spread / 65535.0) + smallest
    p0, p25, p75, p100 = quartiles.unbind(1)
    content = torch.frombuffer(_exactly(path, file, rows * columns), dtype=torch.uint8)
    codes = content.to(torch.float32).view(columns, rows)
    low = p0 + (p25 - p0) * codes / 64
    middle = p25 + (p75 - p25) * (codes - 64) / 128
    high = p75 + (p100 - p75) * (codes - 192) / 63
    values = torch.where(codes <= 64, low, torch.where(codes <= 192, middle, high))
    return values.T.contiguous()


def _check_shape(path: str | Path, rows: int, columns: int, width: int) -> None:
    if rows < 1 or columns < 1:
        raise DataError.at(path, None, f"expected a non-empty matrix, got one of {rows} x {columns}")
    _check_size(path, rows * columns * width)


def _check_size(path: str | Path, size: int) -> None:
    if size > MAX_FEATURE_BYTES:
        raise DataError.at(
            path,
            None,
            f"expected at most {MAX_FEATURE_BYTES:,} bytes of features, got more; split the utterance",
        )


def _exactly(path: str | Path, file: BinaryIO, count: int) -> bytearray:
    # Checked before reading, because a damaged header may ask for more memory than there is.
    left = os.fstat(file.fileno()).st_size - file.tell()
    if left < count:
        raise DataError.at(path, None, f"expected {count:,} bytes of features, got {left:,}; {_REMEDY}")
    return bytearray(file.read(count))
