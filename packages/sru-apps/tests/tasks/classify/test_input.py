"""The input of `sru classify predict`: one row per line, and limits on line length and batch size."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sru_apps.cli import main
from sru_apps.decoding.batches import side_by_side
from sru_apps.inference.loading import load_trained
from sru_apps.tasks.classify import TASK
from sru_apps.tasks.classify import predict as classify


class Source:
    """A standard input that arrives in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.buffer, self.pieces = self, pieces

    def read1(self, size: int) -> bytes:
        return next(self.pieces, b"")


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="latin-1"))


def predict(run: Path, *args: str) -> int:
    return main(["classify", "predict", f"--model={run}", *args])


def rows(run: Path, capsys: pytest.CaptureFixture[str], *args: str) -> list[list[str]]:
    assert predict(run, *args) == 0
    return [line.split("\t") for line in capsys.readouterr().out.split("\n")[:-1]]


@pytest.mark.parametrize(
    "content", [b"moving\n\ntedious\n \t \nawful", b"\n", b"\n\nmoving\n\n", b"\r\nmoving\r\n"]
)
@pytest.mark.parametrize("place", ["standard input", "file"])
def test_every_line_has_a_row(
    trained_run: Path,
    content: bytes,
    place: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdin(monkeypatch, content)
    (tmp_path / "x.txt").write_bytes(content)
    args = [f"--file={tmp_path / 'x.txt'}"] if place == "file" else []
    texts = [line.decode().strip() for line in content.removesuffix(b"\n").split(b"\n")]
    found = rows(trained_run, capsys, *args)
    assert [row[2] for row in found] == texts
    assert all(bool(label) == bool(probability) == bool(text) for label, probability, text in found)


def test_an_empty_line_has_neither_label_nor_probability(
    trained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(trained_run, "--json", "moving", "", "warm\nand funny") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    empty = {"label": None, "probability": None, "probabilities": None, "note": None}
    assert found[1] == {"text": "", **empty}
    assert list(found[0]["probabilities"]) == ["negative", "positive"]
    assert found[0]["probability"] == max(found[0]["probabilities"].values())
    assert [row["text"] for row in found] == ["moving", "", "warm\nand funny"]
    assert rows(trained_run, capsys, "moving\nand warm")[0][2] == "moving and warm"


@pytest.mark.parametrize("place", ["standard input", "file"])
def test_a_byte_order_mark_is_ignored(
    trained_run: Path,
    place: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = b"\xef\xbb\xbfmoving\ntedious\n"
    stdin(monkeypatch, content)
    (tmp_path / "x.txt").write_bytes(content)
    args = [f"--file={tmp_path / 'x.txt'}"] if place == "file" else []
    assert rows(trained_run, capsys, *args) == rows(trained_run, capsys, "moving", "tedious")


def test_rows_are_printed_before_more_is_read(
    trained_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def pieces() -> Iterator[bytes]:
        yield b"moving\ntedi"
        seen.append(capsys.readouterr().out)
        yield b"ous\n"
        seen.append(capsys.readouterr().out)

    monkeypatch.setattr("sys.stdin", Source(pieces()))
    assert predict(trained_run) == 0
    assert [out.count("\n") for out in seen] == [1, 1]
    assert seen[1].endswith("\ttedious\n")


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (b"x" * 65_536, "line 1 of standard input is longer than 65,536 bytes; shorten it\n"),
        (b"a word " * 9_000, "line 1 of standard input is longer than 65,536 bytes; shorten it\n"),
    ],
)
def test_a_line_without_end_is_refused(
    trained_run: Path,
    piece: bytes,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = []

    def pieces() -> Iterator[bytes]:
        while True:
            read.append(piece)
            yield piece

    monkeypatch.setattr("sys.stdin", Source(pieces()))
    assert predict(trained_run) == 1
    assert capsys.readouterr().err == f"sru classify predict: error: {message}"
    assert sum(map(len, read)) < 1 << 18


def test_a_sentence_of_a_million_words_is_refused(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.txt"
    path.write_text("moving\n" + "film " * 1_000_000)
    assert predict(trained_run, f"--file={path}") == 1
    error = capsys.readouterr().err
    assert error == f"sru classify predict: error: line 2 of {path} is longer than 65,536 bytes; shorten it\n"


def test_utf_16(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.txt").write_text("moving\n", encoding="utf-16")
    assert predict(trained_run, f"--file={tmp_path / 'x.txt'}") == 1
    assert "x.txt: expected text in UTF-8, got UTF-16; convert it" in capsys.readouterr().err


def test_short_sentences_are_not_padded_to_long_ones(
    trained_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify, "_AT_ONCE", 16)
    model = load_trained(TASK, trained_run)
    sizes = []
    model.network.register_forward_hook(lambda _, args, __: sizes.append(args[0].numel()))
    texts = ["film", "a film", "film " * 40, "film", "", "a warm film"] * 3
    assert [prediction.text for prediction in model.predict(texts)] == texts
    assert max(sizes) == 40
    assert all(size <= 16 or size == 40 for size in sizes)


def test_groups_keep_the_order_and_the_size_limit() -> None:
    sequences = [[1] * length for length in (3, 5, 1, 1, 20, 2, 4, 0, 4)]
    groups = list(side_by_side(sequences, 10))
    assert [sequence for group in groups for sequence in group] == sequences
    assert [len(group) for group in groups] == [2, 2, 1, 2, 2]


def test_unknown_words_are_named_once(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = pytest.warns(
        UserWarning, match="^words that are not in .* as the unknown symbol: 'zebra', 'gnu'$"
    )
    doubtful = pytest.warns(UserWarning, match=r"^sentence 3: none of it is in the model's vocabulary$")
    with named, doubtful:
        assert predict(trained_run, "zebra film zebra", "a zebra", "gnu") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_no_standard_input(
    trained_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert predict(trained_run) == 1
    assert "error: no sentences: give some as arguments" in capsys.readouterr().err
