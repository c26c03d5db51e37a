"""A stopped and resumed run reaches the weights of an uninterrupted one."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sru_apps.cli import main
from sru_apps.train.weights import read_checkpoint

EVERYTHING = [
    "--data.random_lengths=true",
    "--trainer.accumulate_grad_batches=2",
    "--optimizer.schedule=exponential",
    "--optimizer.gamma=0.5",
    "--optimizer.warmup_steps=4",
    "--checkpoint-steps=4",
    "--data.document_separator=<eos>",
]


@pytest.fixture
def assert_same(assert_same_checkpoints: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    def compare(run: Path, other: Path) -> None:
        assert_same_checkpoints(run, other)
        assert figures(run) == figures(other)
        summaries = [json.loads((folder / "summary.json").read_text()) for folder in (run, other)]
        for key in ("test", "validation", "best_epoch", "epochs", "steps"):
            assert summaries[0][key] == summaries[1][key]

    return compare


def resume(run: Path) -> None:
    assert main(["lm", "fit", f"--resume={run}"]) == 0


def figures(run: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    return [
        {key: value for key, value in row.items() if key not in ("seconds", "tokens_per_second")}
        for row in rows
    ]


def test_a_killed_run_resumes_exactly(
    fit: Callable[..., Path],
    options: list[str],
    assert_same: Callable[[Path, Path], None],
    run_and_stop: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    undisturbed = fit("undisturbed", *EVERYTHING)
    done = run_and_stop(23, "SIGKILL", "lm", "fit", *options, *EVERYTHING, "--name=killed")
    assert done.returncode == -signal.SIGKILL, done.stderr
    killed = undisturbed.parent / "killed"
    saved = read_checkpoint(killed / "checkpoints/last.ckpt")
    assert saved["global_step"] == 20
    assert saved["carried_states"][0].shape == (2, 4, 8)
    resume(killed)
    assert_same(killed, undisturbed)
    last = read_checkpoint(killed / "checkpoints/last.ckpt")["optimizer_states"][0]["param_groups"][0]
    assert last["lr"] == pytest.approx(0.01 * 0.5**2), "halved in the second and the third epoch"


@pytest.mark.parametrize(
    ("more", "step"),
    [
        (
            [
                "--model.encoder=srupp",
                "--model.memory_length=12",
                "--trainer.max_epochs=2",
                "--data.document_separator=<eos>",
            ],
            27,
        ),
        (["--optimizer.schedule=plateau", "--optimizer.lr=100", "--optimizer.name=sgd"], 45),
        (["--trainer.precision=bf16-mixed", "--trainer.max_steps=33", "--optimizer.schedule=one-cycle"], 29),
    ],
    ids=["memory and documents", "plateau", "bf16 and max_steps"],
)
def test_an_interrupted_run_resumes_exactly(
    fit: Callable[..., Path],
    more: list[str],
    step: int,
    capsys: pytest.CaptureFixture[str],
    stop_before: Callable[[int, signal.Signals], None],
    assert_same: Callable[[Path, Path], None],
) -> None:
    undisturbed = fit("undisturbed", *more)
    stop_before(step, signal.SIGINT)
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
