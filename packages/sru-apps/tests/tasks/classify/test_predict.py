"""`sru classify predict`."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main
from sru_apps.inference.loading import load_trained
from sru_apps.tasks.classify import TASK
from sru_apps.train.weights import read_checkpoint

SENTENCES = ["a warm and funny film", "tedious", "simply awful noise ."]


def _predict(run: Path, *args: str) -> int:
    return main(["classify", "predict", f"--model={run}", *args])


@pytest.fixture
def expected(trained_run: Path) -> list[str]:
    classifier = load_trained(TASK, trained_run)
    lines = []
    for text in SENTENCES:
        ids = torch.tensor([classifier.tokenizer.encode(text)]).t()
        with torch.no_grad():
            (probabilities,) = classifier.network(ids, ids == 0).softmax(-1)
        label = classifier.labels[int(probabilities.argmax())]
        lines.append(f"{label}\t{float(probabilities.max()):.4f}\t{text}")
    return lines


def test_sentences_as_arguments(
    trained_run: Path, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _predict(trained_run, *SENTENCES) == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_sentences_in_a_file(
    trained_run: Path, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(SENTENCES))
    assert _predict(trained_run, f"--file={path}") == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_sentences_on_standard_input(
    trained_run: Path,
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(SENTENCES) + "\n"))
    assert _predict(trained_run) == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_standard_input_is_utf8_in_every_locale(trained_run: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sru_apps", "classify", "predict", f"--model={trained_run}"],
        input="a café\n".encode(),
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1:strict", "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.decode("utf-8").endswith("\ta café\n"), done.stderr


def test_standard_input_that_is_not_utf8(
    trained_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"moving\ncaf\xe9\n"), encoding="latin-1")
    monkeypatch.setattr("sys.stdin", stdin)
    assert _predict(trained_run) == 1
    expected = (
        "sru classify predict: error: line 2 of standard input is not UTF-8 at byte 3; convert it first\n"
    )
    assert capsys.readouterr().err == expected


def test_json(trained_run: Path, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(trained_run, "--json", *SENTENCES) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [f"{row['label']}\t{row['probability']:.4f}\t{row['text']}" for row in rows] == expected


@pytest.mark.parametrize("part", ["model", "checkpoints/best.ckpt"])
def test_model_folder_and_checkpoint_agree_with_the_run(
    trained_run: Path, expected: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _predict(trained_run / part, *SENTENCES) == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_predictions_keep_the_order_of_the_sentences(trained_run: Path) -> None:
    texts = [f"film {'and ' * (i % 7)}{i}" for i in range(150)]
    assert [prediction.text for prediction in load_trained(TASK, trained_run).predict(texts)] == texts


def test_the_model_folder_is_self_contained(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained_run / "model", tmp_path / "shipped")
    assert sorted(path.name for path in (tmp_path / "shipped").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert _predict(tmp_path / "shipped", "moving") == 0
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("args", [[], ["--file=empty.txt"]])
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_empty_input(
    trained_run: Path,
    args: list[str],
    content: bytes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty.txt").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert _predict(trained_run, *args) == 1
    output = capsys.readouterr()
    assert "sru classify predict: error: no sentences: give some as arguments" in output.err
    assert output.out == ""


def test_missing_file(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(trained_run, "--file=none.txt") == 1
    assert "error: cannot read none.txt: No such file or directory" in capsys.readouterr().err


def test_file_that_is_not_utf8(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert _predict(trained_run, f"--file={tmp_path / 'latin.txt'}") == 1
    assert "latin.txt is not UTF-8 at byte 3; convert it first" in capsys.readouterr().err


def test_arguments_and_file(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(trained_run, "--file=none.txt", "moving") == 1
    assert "either as arguments or in --file, not both" in capsys.readouterr().err


def test_missing_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(tmp_path / "none", "moving") == 1
    assert "no model at" in capsys.readouterr().err


def test_a_run_without_an_exported_model_uses_its_best_checkpoint(
    trained_run: Path, tmp_path: Path, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    shutil.rmtree(run / "model")
    assert _predict(run, *SENTENCES) == 0
    assert capsys.readouterr().out.splitlines() == expected
    (run / "checkpoints/best.ckpt").unlink()
    assert _predict(run, "moving") == 1
    assert "is not an exported model: config.json is missing" in capsys.readouterr().err


def test_weights_that_do_not_fit(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(trained_run / "model", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["model"]["hidden_size"] += 1
    (folder / "config.json").write_text(json.dumps(config))
    assert _predict(folder, "moving") == 1
    error = capsys.readouterr().err
    assert "model is damaged or is not an exported model: RuntimeError: encoder.rnn: hidden_size:" in error


def test_checkpoint_of_another_task(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = read_checkpoint(trained_run / "checkpoints/best.ckpt")
    torch.save({**checkpoint, "task": "translate"}, tmp_path / "other.ckpt")
    assert _predict(tmp_path / "other.ckpt", "moving") == 1
    assert "was made by `sru translate`; expected one made by `sru classify`" in capsys.readouterr().err


def test_damaged_checkpoint(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = (trained_run / "checkpoints/best.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: len(content) // 2])
    assert _predict(tmp_path / "cut.ckpt", "moving") == 1
    error = capsys.readouterr().err
    assert "cut.ckpt is damaged or is not a checkpoint" in error
    assert error.count("\n") == 1
