from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sru_apps.classification.load import load_classifier
from sru_apps.classification.predict import predict
from sru_apps.cli import TASKS, main
from sru_apps.demo import make_module
from sru_apps.training.checkpoint_io import read_checkpoint


@pytest.mark.parametrize(("command", "stage"), [("validate", "validation"), ("test", "test")])
def test_accuracy_is_that_of_the_best_checkpoint(
    trained_run: Path, command: str, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((trained_run / "summary.json").read_text())
    assert main(["classify", command, str(trained_run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy"] == pytest.approx(summary[f"{stage}_accuracy"])
    assert result["checkpoint"].endswith("best.ckpt")
    assert result["set"] == stage


def test_accuracy_is_that_of_the_predictions(
    trained_run: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (tiny_data / "classification/stsa.binary.test").read_text().splitlines()
    predictions = predict(load_classifier(trained_run), [line[2:] for line in lines])
    right = [
        ("negative", "positive")[int(line[0])] == p.label for line, p in zip(lines, predictions, strict=True)
    ]
    assert main(["classify", "test", str(trained_run)]) == 0
    output = capsys.readouterr()
    assert f"sst2 sru: test accuracy {100 * sum(right) / len(right):.2f} %, loss " in output.out
    assert output.err == ""


def test_last_checkpoint_and_other_data(
    trained_run: Path, tiny_sst2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_sst2 / "classification/stsa.binary.test"
    path.write_text(path.read_text().replace("1 ", "2 "))
    last = trained_run / "checkpoints/last.ckpt"
    assert main(["classify", "test", str(last), f"--data-dir={tiny_sst2}"]) == 1
    assert f"{path}:1: expected a label from 0 to 1" in capsys.readouterr().err


def test_missing_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "test", str(tmp_path)]) == 1
    assert "sru classify test: error: no checkpoint at" in capsys.readouterr().err


def test_checkpoint_of_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    assert main(["classify", "validate", str(tmp_path / "x.ckpt")]) == 1
    assert (
        "was made by no task of this program; expected one made by `sru classify`" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "part", ["datamodule_hyper_parameters", "SentenceData", "hyper_parameters", "state_dict"]
)
def test_checkpoint_with_a_wrong_part(
    trained_run: Path, tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = read_checkpoint(trained_run / "checkpoints/best.ckpt")
    for index, wrong in enumerate([{}, {"fold": []}, 3]):
        path = tmp_path / f"{index}.ckpt"
        torch.save({**checkpoint, part: wrong}, path)
        assert main(["classify", "test", str(path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"error: {path} is damaged or is not a checkpoint: " in line


def test_unknown_accelerator(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "test", str(trained_run), "--accelerator=gpuu"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "invalid accelerator name: `accelerator='gpuu'`" in line


def test_checkpoint_of_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint: dict[str, object] = {"state_dict": {}}
    make_module(5, "sru", 4).on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "x.ckpt")
    assert main(["classify", "test", str(tmp_path / "x.ckpt")]) == 1
    expected = "was made by `sru demo`; expected one made by `sru classify`"
    assert expected in capsys.readouterr().err
    assert checkpoint["task"] in TASKS


def test_unknown_option(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["classify", "test", str(trained_run), "--data-dirr=x"])
    assert exit_.value.code == 2
    assert "unknown option --data-dirr. Did you mean '--data-dir'?" in capsys.readouterr().err
