"""Two processes train like one with twice the streams, and continue after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main
from sru_apps.train.module import SHARDS_ON_CPU
from sru_apps.train.weights import read_checkpoint

from ..fork_server import Forked, as_torchrun_does, assert_went_well
from ..tasks.lm.conftest import small_options

# Written to a file, since Lightning starts the second process with the command line of the first.
KILLED = """
import os, signal, sys
from sru_apps.cli import main
from sru_apps.train.checkpoints import SeedEveryStep

seed = SeedEveryStep.on_train_batch_start

def stop_and_seed(self, trainer, *args):
    if trainer.global_step == 15:
        os.kill(os.getpid(), signal.SIGKILL)
    seed(self, trainer, *args)

SeedEveryStep.on_train_batch_start = stop_and_seed
sys.exit(main())
"""
SHORT = ["--trainer.max_epochs=1", "--model.dropout=0"]
TWO = [*SHORT, "--data.batch_size=2", "--checkpoint-steps=6"]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run / "checkpoints/last.ckpt")["state_dict"]


def validation_loss(run: Path) -> float:
    header, row = (run / "metrics.csv").read_text().splitlines()
    return float(dict(zip(header.split(","), row.split(","), strict=True))["validation_loss"])


@pytest.fixture(scope="module")
def runs(
    tiny_texts: Path,
    tmp_path_factory: pytest.TempPathFactory,
    forked: Forked,
) -> Path:
    """The folder of all runs, with the output of their processes in `outputs`."""
    folder = tmp_path_factory.mktemp("distributed")
    options = small_options(tiny_texts, folder)
    runs, outputs = folder / "lm/train", folder / "outputs"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main(["lm", "fit", *options, *SHORT, "--name=one"]) == 0
    finally:
        torch.set_num_threads(threads)

    # Launched by Lightning itself.
    program = folder / "program.py"
    program.write_text(KILLED)
    two = [*options, *TWO, "--trainer.strategy=ddp"]
    done = subprocess.run(
        [sys.executable, str(program), "lm", "fit", *two, "--trainer.devices=2", "--name=killed"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (runs / "killed/checkpoints/at-the-kill.ckpt").write_bytes(
        (runs / "killed/checkpoints/last.ckpt").read_bytes()
    )

    shared = [*options, *TWO, "--trainer.strategy=fsdp", "--name=shared"]
    jobs: list[tuple[str, list[str], tuple[int, str] | None]] = [
        ("undisturbed", [*two, "--name=undisturbed"], None),
        ("killed", [f"--resume={runs / 'killed'}"], None),
    ]
    if SHARDS_ON_CPU:
        jobs += [("shared", shared, (15, "SIGKILL")), ("shared again", [f"--resume={runs / 'shared'}"], None)]
    for name, args, stop_before in jobs:
        (outputs / name).mkdir(parents=True)
        ends = forked(as_torchrun_does(["lm", "fit", *args], outputs / name, stop_before))
        (outputs / name / "ends").write_text(json.dumps(ends))
    return folder


def test_two_processes_are_one_with_twice_the_streams(runs: Path) -> None:
    assert_went_well(runs / "outputs/undisturbed")
    summaries = [
        (runs / f"outputs/undisturbed/{rank}").read_text().count("tokens per second,") for rank in (0, 1)
    ]
    assert summaries == [1, 0], "only one process may sum up"
    one, two = runs / "lm/train/one", runs / "lm/train/undisturbed"
    torch.testing.assert_close(weights(two), weights(one), rtol=1e-4, atol=1e-5)
    assert validation_loss(two) == pytest.approx(validation_loss(one), rel=1e-6)


def test_two_processes_survive_a_kill(runs: Path) -> None:
    killed = runs / "lm/train/killed"
    saved = read_checkpoint(killed / "checkpoints/at-the-kill.ckpt")
    assert saved["global_step"] == 12
    first, second = saved["carried_states"]
    assert first.shape == second.shape == (2, 2, 8)
    assert not torch.equal(first, second)
    assert_went_well(runs / "outputs/killed")
    torch.testing.assert_close(weights(killed), weights(runs / "lm/train/undisturbed"), rtol=0, atol=0)


@pytest.mark.skipif(not SHARDS_ON_CPU, reason="this torch shares out weights on GPUs only")
def test_shared_out_weights_survive_a_kill(runs: Path) -> None:
    assert json.loads((runs / "outputs/shared/ends").read_text()) == [-signal.SIGKILL] * 2
    assert_went_well(runs / "outputs/shared again")
    one, shared = runs / "lm/train/one", runs / "lm/train/shared"
    torch.testing.assert_close(weights(shared), weights(one), rtol=1e-4, atol=1e-5)
    assert validation_loss(shared) == pytest.approx(validation_loss(one), rel=1e-6)
