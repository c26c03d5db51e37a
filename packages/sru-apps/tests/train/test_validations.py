"""Validations within epochs, their consequences, and the rows between them."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sru_apps.cli import main
from sru_apps.train.checkpoints import read_checkpoint
from sru_apps.train.errors import UserError
from sru_apps.train.history import History
from sru_apps.train.meters import TimeLeft
from sru_apps.train.validations import interval, since_best

from ..conftest import _small_options

pytestmark = pytest.mark.usefixtures("one_thread")

OFTEN = [
    "--trainer.val_check_interval=5",
    "--log-steps=4",
    "--optimizer.schedule=plateau",
    "--optimizer.warmup_steps=3",
    "--data.batch_size=4",
]
TIMES = ("seconds", "tokens_per_second")


def rows(run: Path, name: str) -> list[dict[str, str]]:
    found = list(csv.DictReader((run / name).read_text().splitlines()))
    return [{key: value for key, value in row.items() if key not in TIMES} for row in found]


def summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


@pytest.fixture(scope="module")
def often(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs of 12 steps, validated after steps 5, 10 and 12 of each."""
    runs = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(["classify", "fit", *_small_options(tiny_data, runs), *OFTEN, "--name=often"]) == 0
    torch.set_num_threads(threads)
    return runs / "classify/sst2/often"


@pytest.fixture
def assert_same(assert_same_checkpoints: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    def compare(run: Path, other: Path) -> None:
        assert_same_checkpoints(run, other)
        for table in ("metrics.csv", "steps.csv"):
            assert rows(run, table) == rows(other, table)
        for key in ("test", "validation", "best_epoch", "best_step", "epochs", "steps", "ended_by"):
            assert summary(run)[key] == summary(other)[key]

    return compare


def test_rows(often: Path) -> None:
    found = rows(often, "metrics.csv")
    assert [int(row["step"]) for row in found] == [5, 10, 12, 17, 22, 24, 29, 34, 36]
    assert [row["epoch"] for row in found[:4]] == ["0.4167", "0.8333", "1", "1.4167"]
    steps = rows(often, "steps.csv")
    assert [int(row["step"]) for row in steps] == list(range(4, 37, 4))
    assert [float(row["lr"]) for row in steps[:1]] == [0.01]
    assert all(float(row["gradient_norm"]) > 0 for row in steps)
    # Both tables have the 12 batches of an epoch, split at different steps.
    losses = [float(row["train_loss"]) for row in found[:3]]
    mean = sum(float(row["train_loss"]) for row in steps[:3]) / 3
    assert mean == pytest.approx((5 * losses[0] + 5 * losses[1] + 2 * losses[2]) / 12)


def test_the_best_of_all_validations_is_kept(often: Path) -> None:
    found = rows(often, "metrics.csv")
    best = max(found, key=lambda row: float(row["validation_accuracy"]))
    assert summary(often)["best_step"] == int(best["step"])
    assert read_checkpoint(often / "checkpoints/best.ckpt")["global_step"] == int(best["step"])


@pytest.mark.parametrize(
    ("step", "saved"), [(4, 5), (16, 17), (18, 19)], ids=["at the first", "at one", "after one"]
)
def test_interrupted_run_continues_at_the_same_place(
    often: Path,
    small_options: list[str],
    tmp_path: Path,
    step: int,
    saved: int,
    stop_before: Callable[[int, signal.Signals], None],
    assert_same: Callable[[Path, Path], None],
) -> None:
    stop_before(step, signal.SIGINT)
    assert main(["classify", "fit", *small_options, *OFTEN, "--name=x"]) == 130
    run = tmp_path / "runs/classify/sst2/x"
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == saved
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert_same(run, often)


def test_killed_run_continues_from_its_last_validation(
    often: Path,
    small_options: list[str],
    tmp_path: Path,
    run_and_stop: Callable[..., subprocess.CompletedProcess[str]],
    assert_same: Callable[[Path, Path], None],
) -> None:
    done = run_and_stop(21, "SIGKILL", "classify", "fit", *small_options, *OFTEN, "--name=x")
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = tmp_path / "runs/classify/sst2/x"
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 17
    assert [int(row["step"]) for row in rows(run, "steps.csv")] == [4, 8, 12, 16, 20]
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert_same(run, often)


def test_the_best_checkpoint_can_be_continued(
    often: Path, tmp_path: Path, assert_same: Callable[[Path, Path], None]
) -> None:
    run = Path(shutil.copytree(often, tmp_path / "run"))
    (run / "summary.json").unlink()
    assert main(["classify", "fit", f"--resume={run / 'checkpoints/best.ckpt'}"]) == 0
    assert_same(run, often)


def test_a_run_that_ends_within_an_epoch_can_be_prolonged(
    small_options: list[str], tmp_path: Path, assert_same_checkpoints: Callable[[Path, Path], None]
) -> None:
    runs = tmp_path / "runs/classify/sst2"
    for name, steps in (("short", 17), ("long", 30)):
        assert (
            main(["classify", "fit", *small_options, f"--name={name}", f"--trainer.max_steps={steps}"]) == 0
        )
        assert summary(runs / name)["ended_by"] == "max_steps"
        (last,) = rows(runs / name, "steps.csv")
        assert (last["step"], last["gradient_norm"]) == (str(steps), "")
    run = Path(shutil.copytree(runs / "short", tmp_path / "again"))
    (run / "summary.json").unlink()
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert rows(run, "steps.csv") == rows(runs / "short", "steps.csv")
    assert main(["classify", "fit", f"--resume={runs / 'short'}", "--trainer.max_steps=30"]) == 0
    assert_same_checkpoints(runs / "short", runs / "long")
    assert [row["epoch"] for row in rows(runs / "short", "metrics.csv")] == ["1", "1.4167", "2", "2.5"]
    assert rows(runs / "short", "steps.csv") == rows(runs / "long", "steps.csv")


@pytest.fixture
def a_second_per_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the run's clock return the number of its steps, with many steps left."""
    now = {"step": 0.0}
    add = History.on_train_batch_end

    def step(self: History, trainer: Any, *others: Any) -> None:
        now["step"] = trainer.global_step
        add(self, trainer, *others)

    monkeypatch.setattr(History, "on_train_batch_end", step)
    monkeypatch.setattr(History, "seconds", property(lambda self: now["step"]))
    monkeypatch.setattr(TimeLeft, "seconds", lambda *_: 1000.0)


@pytest.mark.usefixtures("a_second_per_step")
def test_stops_when_the_time_is_up(
    small_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    assert_same_checkpoints: Callable[[Path, Path], None],
) -> None:
    fit = ["classify", "fit", *small_options]
    run, long = (tmp_path / "runs/classify/sst2" / name for name in ("short", "long"))
    assert main([*fit, "--name=short", "--trainer.max_time=00:00:00:17"]) == 0
    assert summary(run)["ended_by"] == "max_time"
    assert summary(run)["steps"] == 17
    printed = capsys.readouterr().out
    assert "Stopped after --trainer.max_time 00:00:00:17" in printed
    # After the first epoch, of 12 steps.
    assert "12.0 s, about 5 s left" in printed
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert "is finished; give more --trainer.max_time to train it for longer" in capsys.readouterr().out
    # As if it had been killed before it was tested and exported.
    (run / "summary.json").unlink()
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert summary(run)["steps"] == 17
    assert main(["classify", "fit", f"--resume={run}", "--trainer.max_time=00:00:00:30"]) == 0
    assert summary(run)["steps"] == 30
    assert main([*fit, "--name=long", "--trainer.max_steps=30"]) == 0
    assert_same_checkpoints(run, long)


def test_stops_early(
    small_options: list[str],
    often: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    assert_same: Callable[[Path, Path], None],
) -> None:
    run = tmp_path / "runs/classify/sst2/x"
    assert main(["classify", "fit", *small_options, *OFTEN, "--name=x", "--patience=2"]) == 0
    found = rows(run, "metrics.csv")
    assert found == rows(often, "metrics.csv")[: len(found)]
    assert (
        since_best(
            [{key: float(value) for key, value in row.items()} for row in found],
            ["validation_accuracy"],
            "max",
        )
        == 2
    )
    assert len(found) < 9
    assert summary(run)["ended_by"] == "patience"
    assert "Stopped early: no improvement in 2 validations" in capsys.readouterr().out
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert "is finished; it stopped early; increase --patience, or set it to 0" in capsys.readouterr().out
    before = read_checkpoint(run / "checkpoints/last.ckpt")["global_step"]
    (run / "summary.json").unlink()
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == before
    assert summary(run)["ended_by"] == "patience"
    assert main(["classify", "fit", f"--resume={run}", "--patience=0"]) == 0
    assert_same(run, often)


def test_a_checkpoint_of_a_former_version_is_continued(
    often: Path, small_options: list[str], tmp_path: Path, stop_before: Callable[[int, signal.Signals], None]
) -> None:
    stop_before(18, signal.SIGINT)
    assert main(["classify", "fit", *small_options, *OFTEN, "--name=x"]) == 130
    run = tmp_path / "runs/classify/sst2/x"
    last = run / "checkpoints/last.ckpt"
    checkpoint = read_checkpoint(last)
    del checkpoint["callbacks"]["StepLog"]
    torch.save(checkpoint, last)
    (run / "steps.csv").unlink()
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert rows(run, "metrics.csv") == rows(often, "metrics.csv")
    assert rows(run, "steps.csv")[1:] == rows(often, "steps.csv")[5:]


@pytest.mark.parametrize(
    ("every", "batches", "accumulate", "expected"),
    [(5, 12, 1, 5), (12, 12, 1, 12), (0.25, 12, 1, 3), (1.0, 12, 1, 12), (0.01, 12, 1, 1), (0.5, 13, 4, 4)],
)
def test_interval(every: float, batches: int, accumulate: int, expected: int) -> None:
    assert interval(every, batches, accumulate) == expected


@pytest.mark.parametrize("every", [0, -3, 13, 0.0, 1.5, -0.5, float("nan")])
def test_interval_out_of_range(every: float) -> None:
    message = r"must be a number of batches, from 1 to the 12 of an epoch, or a fraction .*got"
    with pytest.raises(UserError, match=message):
        interval(every, 12, 1)


def test_interval_that_splits_a_step() -> None:
    with pytest.raises(UserError, match=r"must be a multiple of --trainer.accumulate_grad_batches 4, got 6"):
        interval(6, 12, 4)


def test_since_best() -> None:
    def scores(*values: float) -> list[dict[str, float]]:
        return [{"validation_loss": 1.0, "f": value} for value in values]

    nan, inf = float("nan"), float("inf")
    assert since_best(scores(1, 3, 3, 2), ["g", "f"], "max") == 2
    assert since_best(scores(1, 3, 3, 2), ["f"], "min") == 3
    assert since_best(scores(nan, nan), ["f"], "max") == 2
    assert since_best([{"validation_loss": inf, "f": 9.0}, *scores(1, 2)], ["f"], "max") == 0
