"""Two processes train as one does with twice the streams, and go on after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sru_apps.training.checkpoint_io import read_checkpoint
from sru_apps.training.sharding import SHARDS_ON_CPU

# A file, since Lightning starts the second process with the command line of the first.
PROGRAM = """
import os, signal, sys
from sru_apps.training.seeding import SeedEveryStep

seed = SeedEveryStep.on_train_batch_start

def stop_and_seed(self, trainer, *args):
    if trainer.global_step == int(os.environ["STOP_AT"]):
        os.kill(os.getpid(), signal.SIGKILL)
    seed(self, trainer, *args)

SeedEveryStep.on_train_batch_start = stop_and_seed
from sru_apps.cli import main
sys.exit(main())
"""
SHORT = ["--trainer.max_epochs=1", "--model.dropout=0"]
TWO = [*SHORT, "--data.batch_size=2", "--trainer.devices=2", "--trainer.strategy=ddp", "--checkpoint-steps=6"]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run / "checkpoints/last.ckpt")["state_dict"]


def validation_loss(run: Path) -> float:
    header, row = (run / "metrics.csv").read_text().splitlines()
    return float(dict(zip(header.split(","), row.split(","), strict=True))["validation_loss"])


@pytest.fixture
def run_two(options: list[str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def run(*args: str, kill_at: int = -1) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "STOP_AT": str(kill_at)}
        return subprocess.run(
            [sys.executable, str(program), "lm", "fit", *args],
            capture_output=True,
            text=True,
            env=environment,
        )

    return run


def test_two_processes_are_one_with_twice_the_streams_and_survive_a_kill(
    fit: Callable[..., Path],
    run_two: Callable[..., subprocess.CompletedProcess[str]],
    options: list[str],
) -> None:
    one = fit("one", *SHORT)
    undisturbed, killed = one.parent / "undisturbed", one.parent / "killed"

    done = run_two(*options, *TWO, "--name=undisturbed")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("tokens per second,") == 1, "only one process may sum up"
    torch.testing.assert_close(weights(undisturbed), weights(one), rtol=1e-4, atol=1e-5)
    assert validation_loss(undisturbed) == pytest.approx(validation_loss(one), rel=1e-6)

    done = run_two(*options, *TWO, "--name=killed", kill_at=15)
    assert done.returncode == -signal.SIGKILL
    saved = read_checkpoint(killed / "checkpoints/last.ckpt")
    assert saved["global_step"] == 12
    first, second = saved["carried_states"]
    assert first.shape == second.shape == (2, 2, 8)
    assert not torch.equal(first, second)

    done = run_two(f"--resume={killed}")
    assert (done.returncode, done.stderr) == (0, "")
    torch.testing.assert_close(weights(killed), weights(undisturbed), rtol=0, atol=0)


@pytest.mark.skipif(not SHARDS_ON_CPU, reason="this torch shares out weights on GPUs only")
def test_shared_out_weights_survive_a_kill(
    fit: Callable[..., Path],
    run_two: Callable[..., subprocess.CompletedProcess[str]],
    options: list[str],
) -> None:
    one = fit("one", *SHORT)
    done = run_two(*options, *TWO, "--trainer.strategy=fsdp", "--name=killed", kill_at=15)
    assert done.returncode == -signal.SIGKILL
    killed = one.parent / "killed"
    assert read_checkpoint(killed / "checkpoints/last.ckpt")["global_step"] == 12
    done = run_two(f"--resume={killed}")
    assert (done.returncode, done.stderr) == (0, "")
    torch.testing.assert_close(weights(killed), weights(one), rtol=1e-4, atol=1e-5)
    assert validation_loss(killed) == pytest.approx(validation_loss(one), rel=1e-6)
