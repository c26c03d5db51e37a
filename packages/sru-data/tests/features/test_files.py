from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch

from sru_data import DataError
from sru_data.datasets.speech import Utterance
from sru_data.features import FeatureConfig, extract, files

VALUES = [[1.5, -2.0], [0.25, 1e-3], [3e4, 0.0]]
CONFIG = FeatureConfig("file", num_bins=2)


def mfc(*values: float, count: int | None = None) -> bytes:
    return struct.pack(f">i{len(values)}f", len(values) if count is None else count, *values)


def matrix(kind: bytes, rows: int, columns: int, content: bytes) -> bytes:
    return b"\0B" + kind + b" " + struct.pack("<bibi", 4, rows, 4, columns) + content


def read(path: Path, content: bytes, *, position: int | None = None, config: FeatureConfig = CONFIG):
    path.write_bytes(content)
    return extract(config, Utterance("x", str(path), position=position))


def test_cepstra_of_sphinx(tmp_path: Path) -> None:
    flat = [value for frame in VALUES for value in frame]
    assert torch.equal(read(tmp_path / "x.mfc", mfc(*flat)), torch.tensor(VALUES))


def test_matrices_of_kaldi(tmp_path: Path) -> None:
    flat = [value for frame in VALUES for value in frame]
    single = matrix(b"FM", 3, 2, struct.pack("<6f", *flat))
    double = matrix(b"DM", 3, 2, struct.pack("<6d", *flat))
    archive = b"a " + single + b"utterance " + double
    path = tmp_path / "feats.ark"
    assert torch.equal(read(path, archive, position=2), torch.tensor(VALUES))
    assert torch.equal(read(path, archive, position=2 + len(single) + 10), torch.tensor(VALUES))


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        # Codes of two bytes, from 1 in steps of 0.01, and codes of one byte over the same range.
        (b"CM2", struct.pack("<4H", 0, 100, 200, 65535), [[1.0, 2.0], [3.0, 656.35]]),
        (b"CM3", bytes([0, 51, 102, 255]), [[1.0, 132.07], [263.14, 656.35]]),
        # Each column has its own quartiles, and codes between them.
        (
            b"CM",
            struct.pack("<8H", 0, 6400, 19200, 65535, 100, 100, 100, 100) + bytes([32, 128, 213, 5, 250, 0]),
            [[33.0, 2.0], [129.0, 2.0], [347.45, 2.0]],
        ),
    ],
)
def test_compressed_matrices_of_kaldi(tmp_path: Path, kind: bytes, content: bytes, expected) -> None:
    head = b"\0B" + kind + b" " + struct.pack("<ffii", 1.0, 655.35, len(expected), 2)
    found = read(tmp_path / "feats.ark", head + content, position=0)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x\.mfc: expected a big-endian count .*, got 0 bytes that begin with nothing; it"),
        (b"\0\0", r"got 2 bytes that begin with 0000; it is damaged or truncated"),
        (mfc(1.0, 2.0)[:-1], r"got 11 bytes that begin with 00000002"),
        (mfc(1.0, 2.0, count=-2), r"got 12 bytes that begin with fffffffe"),
        (mfc(1.0, 2.0, 3.0), r"expected frames of 2 features, got 3 values; set num_bins to the size"),
        (mfc(), r"expected frames of 2 features, got 0 values"),
        (mfc(1.0, float("nan")), r"expected finite features, got some that are infinite or NaN"),
    ],
)
def test_wrong_files_of_sphinx_are_errors(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.mfc", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"feats\.ark: expected a binary matrix at byte 0, got b''; vectors, text archives and audio"),
        (b" [ 1 2 ]", r"expected a binary matrix at byte 0, got b' \["),
        (matrix(b"FV", 1, 2, bytes(8)), r"expected a binary matrix at byte 0, got b'\\x00BFV'"),
        (matrix(b"FM", 2, 2, bytes(15)), r"expected 16 bytes of features, got 15; it is damaged or truncat"),
        (matrix(b"FM", 2, 2, b"")[:9], r"expected 10 bytes of features, got 4"),
        (matrix(b"FM", 0, 2, b""), r"expected a non-empty matrix, got one of 0 x 2"),
        (matrix(b"FM", 2, -2, b""), r"expected a non-empty matrix, got one of 2 x -2"),
        (
            matrix(b"DM", 2**30, 2**30, b""),
            r"expected at most 268,435,456 bytes of features, got more; split",
        ),
        (matrix(b"FM", 1, 3, bytes(12)), r"expected 2 features per frame, got 3; set num_bins to that"),
        (b"\0BCM " + struct.pack("<ffii", 0, 1, 1, 2), r"expected 16 bytes of features, got 0"),
    ],
)
def test_wrong_archives_of_kaldi_are_errors(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "feats.ark", content, position=0)


def test_a_file_of_features_has_a_largest_size(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "MAX_FEATURE_BYTES", 8)
    with pytest.raises(DataError, match=r"x\.mfc: expected at most 8 bytes of features, got more; split"):
        read(tmp_path / "x.mfc", mfc(1.0, 2.0))


def test_features_and_audio_are_not_taken_for_each_other(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.wav: expected features \(\.mfc or a Kaldi archive\), got audio"):
        read(tmp_path / "x.wav", b"")
    with pytest.raises(ValueError, match=r"speed must be 1 for feature files, got 1\.1"):
        extract(CONFIG, Utterance("x", str(tmp_path / "x.mfc")), speed=1.1)
    with pytest.raises(DataError, match=r"none\.mfc: expected a file of features, got: No such file"):
        extract(CONFIG, Utterance("x", str(tmp_path / "none.mfc")))
