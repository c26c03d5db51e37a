"""Run folders when a process is stopped, or another one tries to use the folder."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from sru_apps.cli import main
from sru_apps.tasks.classify.module import ClassifierModule
from sru_apps.train import checkpoints
from sru_apps.train.console import outlive_terminal
from sru_apps.train.errors import UserError
from sru_apps.train.run_folder import RunFolder, new_run
from sru_apps.train.weights import read_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs/classify/sst2/one"


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def test_a_finished_run_is_left_alone(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(trained_run)
    capsys.readouterr()
    assert main(["classify", "fit", f"--resume={trained_run}"]) == 0
    assert capsys.readouterr().out == (
        f"{trained_run} is finished; give more --trainer.max_epochs to train it for longer\n"
    )
    assert files(trained_run) == before


@pytest.fixture
def fail_before(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Train with `small_options` and raise an exception before a step, which acts like a kill."""

    def train(step: int, options: list[str]) -> None:
        training_step = ClassifierModule.training_step

        def fail(self: ClassifierModule, *args: Any) -> torch.Tensor:
            if self.trainer.global_step == step:
                raise ZeroDivisionError
            return training_step(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(ClassifierModule, "training_step", fail)
            with pytest.raises(ZeroDivisionError):
                main(["classify", "fit", *options, "--name=one"])

    return train


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_over(
    small_options: list[str],
    run: Path,
    trained_run: Path,
    fail_before: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    assert_same_checkpoints: Callable[[Path, Path], None],
) -> None:
    fail_before(5, small_options)
    assert not (run / "checkpoints").exists()
    assert main(["classify", "fit", *small_options, "--name=one"]) == 1
    assert "choose another --name, or continue that run with --resume" in capsys.readouterr().err
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert f"{run} has no checkpoint yet; the run starts over\n" in capsys.readouterr().out
    assert_same_checkpoints(run, trained_run)


def test_a_run_continues_from_a_save_within_an_epoch(
    small_options: list[str],
    run: Path,
    trained_run: Path,
    fail_before: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    assert_same_checkpoints: Callable[[Path, Path], None],
) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_SAVES", 0.0)
    fail_before(5, small_options)
    assert 1 <= read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] <= 5
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert_same_checkpoints(run, trained_run)


def test_a_run_that_was_killed_after_the_last_of_its_steps(
    small_options: list[str],
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    assert_same_checkpoints: Callable[[Path, Path], None],
) -> None:
    fit = ["classify", "fit", *small_options, "--trainer.max_steps=6", "--checkpoint-steps=3"]

    def die(*args: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.RunCheckpoints, "on_train_epoch_end", die)
        with pytest.raises(ZeroDivisionError):
            main([*fit, "--name=one"])
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert main([*fit, "--name=whole"]) == 0
    assert_same_checkpoints(run, run.with_name("whole"))


def test_what_takes_long_to_save_is_saved_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = checkpoints.RunCheckpoints(tmp_path, monitor="loss")
    clock = iter([100.0, 102.0, 300.0, 300.5])
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: next(clock))

    class Trainer:
        def save_checkpoint(self, path: Path) -> None:
            pass

    callback._save_last(Trainer())
    assert callback._next_save == 202.0
    callback._save_last(Trainer())
    assert callback._next_save == 360.5


def test_a_closed_terminal_saves_the_run(
    small_options: list[str],
    run: Path,
    trained_run: Path,
    stop_before: Callable[[int, signal.Signals], None],
    assert_same_checkpoints: Callable[[Path, Path], None],
) -> None:
    stop_before(5, signal.SIGHUP)
    assert main(["classify", "fit", *small_options, "--name=one"]) == 130
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 6
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    assert main(["classify", "fit", f"--resume={run}"]) == 0
    assert_same_checkpoints(run, trained_run)


def test_output_to_a_closed_terminal_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = os.openpty()
    with os.fdopen(far, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        outlive_terminal()
        print("seen", flush=True)
        assert os.read(near, 4) == b"seen"
        os.close(near)
        print("lost", flush=True)
        monkeypatch.undo()
        with suppress(OSError):
            stream.close()


def test_nohup_stays_in_force(
    small_options: list[str], run: Path, stop_before: Callable[[int, signal.Signals], None]
) -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop_before(5, signal.SIGHUP)
        assert main(["classify", "fit", *small_options, "--name=one", "--trainer.max_epochs=1"]) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


HOLD = "import sys, time\nfrom sru_apps.train.run_folder import RunFolder\nfrom pathlib import Path\n"
HOLD += "with RunFolder(Path(sys.argv[1])).lock():\n    print(flush=True)\n    time.sleep(60)"


@pytest.mark.parametrize("form", ["--name", "--resume"])
def test_a_run_in_use_is_refused_until_its_process_ends(
    small_options: list[str], run: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = ["classify", "fit", *(small_options if form == "--name" else ()), "--trainer.max_epochs=4"]
    fit += ["--name=one"] if form == "--name" else [f"--resume={run}"]
    if form == "--resume":
        assert main(["classify", "fit", *small_options, "--name=one"]) == 0
    before = files(run)
    capsys.readouterr()
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert main(fit) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(
            f"{run} is in use by another process; wait until it ends, or choose another --name"
        )
        assert {
            path: now for path, now in files(run).items() if not path.endswith(".lock")
        } == before or form == "--resume"
        holder.kill()
    assert main(fit) == 0


def test_two_processes_do_not_both_start(small_options: list[str], run: Path) -> None:
    with RunFolder(run).lock():
        with pytest.raises(UserError, match="is in use by another process") as raised, RunFolder(run).lock():
            pass
        assert raised.value.status == 2
        with pytest.raises(UserError, match="is in use by another process"):
            new_run(run.parent, "one")
    new_run(run.parent, "one")


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK"])
def test_the_processes_of_a_run_share_its_folder(
    run: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunFolder(run).lock():
        monkeypatch.setenv(name, "1")
        with RunFolder(run).lock():
            assert new_run(run.parent, "one").path == run


def test_leftovers_of_a_killed_start_are_removed(run: Path) -> None:
    run.mkdir(parents=True)
    for name in (".lock", ".config.yaml.partial", ".config.yaml.0123.partial"):
        (run / name).write_bytes(b"")
    folder = new_run(run.parent, "one")
    with folder.lock():
        folder.check_new()
        assert [path.name for path in run.iterdir()] == [".lock"]


@pytest.mark.parametrize("place", ["start", "setup"])
def test_a_run_can_be_resumed_from_its_very_start(
    small_options: list[str], run: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(self: ClassifierModule, *args: object, **options: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ClassifierModule, place, kill)
        # Like a kill, which removes nothing.
        patch.setattr(shutil, "rmtree", lambda *args, **options: None)
        with pytest.raises(Killed):
            main(["classify", "fit", *small_options, "--name=one", "--trainer.max_epochs=1"])
    assert main(["classify", "fit", f"--resume={run}"]) == 0


def test_a_file_system_without_locks(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.warns(UserWarning, match=r"one cannot be locked \(No locks available\)"),
        RunFolder(run).lock(),
    ):
        pass


def test_a_lock_follows_no_link(run: Path, tmp_path: Path) -> None:
    run.mkdir(parents=True)
    (run / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"\.lock"), RunFolder(run).lock():
        pass
    assert not (tmp_path / "elsewhere").exists()
