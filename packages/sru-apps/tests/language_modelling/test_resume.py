"""A run that was stopped reaches the weights of one that was not."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sru_apps.cli import main
from sru_apps.training.checkpoint_io import read_checkpoint
from sru_apps.training.seeding import SeedEveryStep

EVERYTHING = [
    "--data.random_lengths=true",
    "--trainer.accumulate_grad_batches=2",
    "--optimizer.schedule=exponential",
    "--optimizer.gamma=0.5",
    "--optimizer.warmup_steps=4",
    "--checkpoint-steps=4",
]

# Stops itself before a training step, in the way of a machine that loses its power.
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


def assert_same(run: Path, other: Path) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = (read_checkpoint(folder / "checkpoints" / name) for folder in (run, other))
        assert ours["global_step"] == theirs["global_step"]
        for part in ("state_dict", "optimizer_states"):
            torch.testing.assert_close(ours[part], theirs[part], rtol=0, atol=0)
    assert figures(run) == figures(other)
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (run, other)]
    for key in ("test", "validation", "best_epoch", "epochs", "steps"):
        assert summaries[0][key] == summaries[1][key]


def resume(run: Path, status: int = 0) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main(["lm", "fit", f"--resume={run}"]) == status
    finally:
        torch.set_num_threads(threads)


def figures(run: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    return [
        {key: value for key, value in row.items() if key not in ("seconds", "tokens_per_second")}
        for row in rows
    ]


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int = signal.SIGINT) -> None:
    seed = SeedEveryStep.on_train_batch_start

    def stop_and_seed(self: SeedEveryStep, trainer: Any, *args: Any) -> None:
        if trainer.global_step == step and not sent:
            sent.append(step)
            os.kill(os.getpid(), number)
        seed(self, trainer, *args)

    sent: list[int] = []
    monkeypatch.setattr(SeedEveryStep, "on_train_batch_start", stop_and_seed)


def test_killed_run_continues_as_if_undisturbed(
    fit: Callable[..., Path], options: list[str], tmp_path: Path
) -> None:
    undisturbed = fit("undisturbed", *EVERYTHING)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "lm", "fit", *options, *EVERYTHING, "--name=killed"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "STOP_AT": "23"},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    killed = undisturbed.parent / "killed"
    saved = read_checkpoint(killed / "checkpoints/last.ckpt")
    assert saved["global_step"] == 20
    assert saved["carried_states"][0].shape == (2, 4, 8)
    resume(killed)
    assert_same(killed, undisturbed)
    last = read_checkpoint(killed / "checkpoints/last.ckpt")["optimizer_states"][0]["param_groups"][0]
    assert last["lr"] == pytest.approx(0.01 * 0.5**2), "halved in the second epoch and in the third"


@pytest.mark.parametrize(
    ("more", "step"),
    [
        (["--model.encoder=srupp", "--model.memory_length=12", "--trainer.max_epochs=2"], 27),
        (["--optimizer.schedule=plateau", "--optimizer.learning_rate=100", "--optimizer.name=sgd"], 45),
        (["--trainer.precision=bf16-mixed", "--trainer.max_steps=33", "--optimizer.schedule=one-cycle"], 29),
    ],
    ids=["memory", "plateau", "bf16 and max_steps"],
)
def test_interrupted_run_continues_at_the_same_place(
    fit: Callable[..., Path],
    more: list[str],
    step: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    undisturbed = fit("undisturbed", *more)
    stop_at(monkeypatch, step)
    interrupted = fit("interrupted", *more, status=130)
    assert f"Interrupted. Continue with: sru lm fit --resume {interrupted}" in capsys.readouterr().out
    assert read_checkpoint(interrupted / "checkpoints/last.ckpt")["global_step"] == step + 1
    resume(interrupted)
    assert_same(interrupted, undisturbed)
    rates = [
        group["lr"]
        for group in read_checkpoint(undisturbed / "checkpoints/last.ckpt")["optimizer_states"][0][
            "param_groups"
        ]
    ]
    if "--optimizer.schedule=plateau" in more:
        assert rates[0] < 100, "the plateau was never reached"
