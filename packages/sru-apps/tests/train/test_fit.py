from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main
from sru_apps.tasks.classify.data import SentenceData
from sru_apps.tasks.classify.module import ClassifierModule
from sru_apps.train.weights import read_checkpoint


def _fit(options: list[str], *more: str) -> int:
    return main(["classify", "fit", *options, *more])


def _rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("encoder", ["sru", "cnn"])
def test_fit_leaves_everything_in_the_run_folder(
    encoder: str, small_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _fit(small_options, "--encoder", encoder, "--name=one") == 0
    run = tmp_path / "runs" / "classify" / "sst2" / "one"
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert {
        "config.yaml",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "model/config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "metrics.csv",
        "learning_curve.png",
        "summary.json",
    } < files
    assert any(name.startswith("tensorboard/events.out.tfevents") for name in files)
    assert not any("partial" in name for name in files)
    assert (run / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    rows = _rows(run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["train_loss"]) > 0 for row in rows)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["encoder"] == encoder
    assert summary["epochs"] == 3
    best = max(float(row["validation_accuracy"]) for row in rows)
    assert summary["validation_accuracy"] == pytest.approx(best)
    assert summary["test"]["accuracy"] == summary["test_accuracy"]
    output = capsys.readouterr()
    assert f"test accuracy {100 * summary['test_accuracy']:.2f} %" in output.out.splitlines()[-1]
    assert output.err == ""


def test_learns(small_options: list[str], tmp_path: Path) -> None:
    assert (
        _fit(
            small_options,
            "--name=one",
            "--trainer.max_epochs=6",
            "--optimizer.lr=0.02",
            "--model.dropout=0",
            "--model.embedding_dropout=0",
        )
        == 0
    )
    run = tmp_path / "runs/classify/sst2/one"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test_accuracy"] == 1.0
    # The best checkpoint is the first with the highest accuracy.
    accuracies = [float(row["validation_accuracy"]) for row in _rows(run)]
    best = accuracies.index(max(accuracies))
    assert read_checkpoint(run / "checkpoints/best.ckpt")["epoch"] == best == summary["best_epoch"] - 1
    assert read_checkpoint(run / "checkpoints/last.ckpt")["epoch"] == 5


def test_a_run_is_a_function_of_its_seed(small_options: list[str], tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> torch.Tensor:
        _fit(small_options, f"--name={name}", f"--seed={seed}", "--trainer.max_epochs=1")
        state = read_checkpoint(tmp_path / "runs/classify/sst2" / name / "checkpoints/last.ckpt")[
            "state_dict"
        ]
        return torch.cat([value.flatten() for value in state.values() if value.is_floating_point()])

    first = weights("a", 0)
    assert torch.equal(weights("b", 0), first)
    assert not torch.equal(weights("c", 1), first)


def test_starts_from_pretrained_vectors(
    small_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("film " + " ".join(["0.5"] * 8) + "\nfun " + " ".join(["0.1"] * 8) + "\n")
    assert _fit(small_options, f"--embeddings={vectors}", "--name=one", "--optimizer.lr=0") == 0
    assert f"2 of 28 words have a vector in {vectors}" in capsys.readouterr().out
    checkpoint = read_checkpoint(tmp_path / "runs/classify/sst2/one/checkpoints/last.ckpt")
    assert (checkpoint["state_dict"]["network.embedding.weight"] == 0.5).all(1).sum() == 1


def test_run_folder_in_use_is_not_overwritten(
    small_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs/classify/sst2/one"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("keep")
    assert _fit(small_options, "--name=one") == 1
    assert (
        "one exists and is not empty; choose another --name, or continue that run with --resume\n"
        in capsys.readouterr().err
    )
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_full_disk_is_one_clear_error(
    small_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real, calls = os.fsync, []

    def fill_up(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").resolve().name
        calls.append(name)
        if name == ".last.ckpt.partial" and calls.count(name) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fill_up)
    assert _fit(small_options, "--name=one") == 1
    error = capsys.readouterr().err
    assert "last.ckpt: No space left on device; the previous one is intact" in error
    checkpoints = tmp_path / "runs/classify/sst2/one/checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert read_checkpoint(checkpoints / "last.ckpt")["epoch"] == 0


@pytest.mark.parametrize("place", ["train_dataloader", "on_train_start", "training_step"])
def test_failure_before_the_first_step_leaves_the_name_free(
    place: str, small_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SentenceData if place == "train_dataloader" else ClassifierModule, place, fail)
        with pytest.raises(ZeroDivisionError):
            _fit(small_options, "--name=one")
    assert not (tmp_path / "runs/classify/sst2/one").exists()
    assert _fit(small_options, "--name=one", "--trainer.max_epochs=1") == 0


def test_failure_after_the_first_step_keeps_the_run(
    small_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ClassifierModule, "validation_step", fail)
    with pytest.raises(ZeroDivisionError):
        _fit(small_options, "--name=one", "--checkpoint-steps=5")
    assert read_checkpoint(tmp_path / "runs/classify/sst2/one/checkpoints/last.ckpt")["global_step"] == 10


def test_missing_data_is_one_clear_error(
    small_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _fit([*small_options, f"--data-dir={tmp_path / 'none'}"]) == 1
    assert "expected the data folder that data_dir names" in capsys.readouterr().err
