from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from sru_apps.cli import main
from sru_apps.train.checkpoints import SeedEveryStep
from sru_apps.train.weights import read_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS_PER_EPOCH = 12


@pytest.fixture
def undisturbed(trained_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path / "runs/classify/sst2/undisturbed"))


@pytest.fixture
def assert_same(assert_same_checkpoints: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    def compare(run: Path, other: Path) -> None:
        assert_same_checkpoints(run, other)
        assert _figures(run) == _figures(other)
        for key in ("test", "validation", "best_epoch", "epochs", "steps"):
            assert _summary(run)[key] == _summary(other)[key]

    return compare


def _figures(run: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def _summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(
    undisturbed: Path,
    small_options: list[str],
    run_and_stop: Callable[..., subprocess.CompletedProcess[str]],
    assert_same: Callable[[Path, Path], None],
) -> None:
    more = "--checkpoint-steps=5"
    done = run_and_stop(17, "SIGKILL", "classify", "fit", *small_options, "--name=killed", more)
    run = undisturbed.parent / "killed"
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 15
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert_same(run, undisturbed)


@pytest.mark.parametrize(
    ("step", "saved"),
    [
        (0, 1),
        (17, 18),
        (2 * STEPS_PER_EPOCH - 1, 2 * STEPS_PER_EPOCH),
        (3 * STEPS_PER_EPOCH - 2, 3 * STEPS_PER_EPOCH - 1),
    ],
    ids=["first step", "in an epoch", "last step of an epoch", "last but one step"],
)
def test_interrupted_run_continues_at_the_same_place(
    undisturbed: Path,
    small_options: list[str],
    capsys: pytest.CaptureFixture[str],
    step: int,
    saved: int,
    stop_before: Callable[[int, signal.Signals], None],
    assert_same: Callable[[Path, Path], None],
) -> None:
    stop_before(step, signal.SIGINT)
    run = undisturbed.parent / "interrupted"
    assert main(["classify", "fit", *small_options, "--name=interrupted"]) == 130
    assert f"Interrupted. Continue with: sru classify fit --resume {run}" in capsys.readouterr().out
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == saved
    assert not (run / "model").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert_same(run, undisturbed)


def test_terminated_run_is_saved(
    undisturbed: Path,
    small_options: list[str],
    stop_before: Callable[[int, signal.Signals], None],
    assert_same: Callable[[Path, Path], None],
) -> None:
    stop_before(17, signal.SIGTERM)
    run = undisturbed.parent / "terminated"
    assert main(["classify", "fit", *small_options, "--name=terminated"]) == 130
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 18
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert_same(run, undisturbed)


def test_moved_run_continues_from_its_checkpoint(
    undisturbed: Path,
    small_options: list[str],
    tmp_path: Path,
    stop_before: Callable[[int, signal.Signals], None],
    assert_same: Callable[[Path, Path], None],
) -> None:
    stop_before(17, signal.SIGINT)
    assert main(["classify", "fit", *small_options, "--name=here"]) == 130
    run = tmp_path / "elsewhere"
    shutil.move(undisturbed.parent / "here", run)
    assert main(["classify", "fit", f"--resume={run / 'checkpoints/last.ckpt'}"]) == 0
    assert_same(run, undisturbed)


def test_twice_interrupted(
    undisturbed: Path,
    small_options: list[str],
    stop_before: Callable[[int, signal.Signals], None],
    assert_same: Callable[[Path, Path], None],
) -> None:
    run = undisturbed.parent / "twice"
    stop_before(3, signal.SIGINT)
    assert main(["classify", "fit", *small_options, "--name=twice"]) == 130
    stop_before(30, signal.SIGINT)
    assert main(["classify", "fit", f"--resume={run}"]) == 130
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert_same(run, undisturbed)
    assert yaml.safe_load((run / "config.yaml").read_text()).get("resume") is None


def test_second_interrupt_stops_at_once(
    small_options: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seed = SeedEveryStep.on_train_batch_start

    def interrupt_twice(self: SeedEveryStep, trainer: Any, *args: Any) -> None:
        if trainer.global_step == 17:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        seed(self, trainer, *args)

    monkeypatch.setattr(SeedEveryStep, "on_train_batch_start", interrupt_twice)
    assert main(["classify", "fit", *small_options, "--name=x"]) == 130
    last = tmp_path / "runs/classify/sst2/x/checkpoints/last.ckpt"
    assert read_checkpoint(last)["global_step"] == STEPS_PER_EPOCH


def test_two_interrupts_before_the_first_checkpoint_leave_nothing(
    small_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt_twice(self: SeedEveryStep, trainer: Any, *args: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SeedEveryStep, "on_train_batch_start", interrupt_twice)
    assert main(["classify", "fit", *small_options, "--name=x"]) == 130
    assert "Interrupted before the first checkpoint." in capsys.readouterr().out
    assert not (tmp_path / "runs/classify/sst2/x").exists()


def test_finished_run_is_tested_and_exported_again(undisturbed: Path) -> None:
    before = _summary(undisturbed)
    (undisturbed / "summary.json").unlink()
    shutil.rmtree(undisturbed / "model")
    assert main(["classify", "fit", f"--resume={undisturbed}"]) == 0
    assert _summary(undisturbed)["test_accuracy"] == before["test_accuracy"]
    assert (undisturbed / "model/model.safetensors").is_file()


def test_finished_run_can_be_prolonged(
    undisturbed: Path, small_options: list[str], assert_same: Callable[[Path, Path], None]
) -> None:
    assert main(["classify", "fit", *small_options, "--name=longer", "--trainer.max_epochs=4"]) == 0
    assert main(["classify", "fit", f"--resume={undisturbed}", "--trainer.max_epochs=4"]) == 0
    assert_same(undisturbed, undisturbed.parent / "longer")
    settings = yaml.safe_load((undisturbed / "config.yaml").read_text())
    assert settings["trainer"]["max_epochs"] == 4


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--model.hidden_size=7",
            r"was trained with hidden_size=6, not 7; continue with the run's own settings",
        ),
        ("--encoder=gru", "was trained with encoder='sru', not 'gru'"),
        ("--seed=5", "was trained with seed=0, not 5"),
        ("--optimizer.lr=5", "was trained with lr=0.01, not 5.0"),
        ("--trainer.accumulate_grad_batches=2", "was trained with accumulate_grad_batches=1, not 2"),
        ("--data.batch_size=5", "was trained with batch_size=4, not 5"),
    ],
)
def test_other_settings_are_refused(
    undisturbed: Path, capsys: pytest.CaptureFixture[str], option: str, message: str
) -> None:
    capsys.readouterr()
    settings = (undisturbed / "config.yaml").read_bytes()
    assert main(["classify", "fit", f"--resume={undisturbed}", option]) == 1
    assert message in capsys.readouterr().err
    assert (undisturbed / "config.yaml").read_bytes() == settings


def test_checkpoint_of_another_task_is_refused(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = undisturbed / "checkpoints/last.ckpt"
    checkpoint = read_checkpoint(path)
    torch.save({**checkpoint, "task": "translate"}, path)
    assert main(["classify", "fit", f"--resume={undisturbed}"]) == 1
    expected = "was made by `sru translate`; expected one made by `sru classify`"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_of_another_task_is_told_its_command(
    undisturbed: Path, stopped: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if stopped:
        shutil.rmtree(undisturbed / "checkpoints")
    assert main(["lm", "fit", f"--resume={undisturbed}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"sru lm fit: error: {undisturbed} was made by `sru classify`; expected one made by `sru lm`; "
        f"continue it with: sru classify fit --resume {undisturbed}"
    )


def test_undisturbed_run_draws_dropout(undisturbed: Path) -> None:
    """The equalities above would be meaningless if nothing were random."""
    hyper_parameters = read_checkpoint(undisturbed / "checkpoints/last.ckpt")["hyper_parameters"]
    assert hyper_parameters["config"]["dropout"] == 0.5
