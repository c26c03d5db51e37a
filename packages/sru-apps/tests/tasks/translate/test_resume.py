"""A killed run reaches the weights, and their averages, of an uninterrupted one."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main
from sru_apps.train.weights import read_checkpoint

from .conftest import EVERY

pytest.importorskip("sacrebleu", reason="BLEU is computed by sacrebleu")


@pytest.mark.usefixtures("one_thread")
def test_a_killed_run_resumes_exactly(
    trained: Path,
    options: list[str],
    assert_same_checkpoints: Callable[[Path, Path], None],
    run_and_stop: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = run_and_stop(7, "SIGKILL", "translate", "fit", *options, *EVERY, "--name=killed")
    assert done.returncode == -signal.SIGKILL, done.stderr
    killed = trained.parent / "killed"
    assert main(["translate", "fit", f"--resume={killed}"]) == 0
    assert_same_checkpoints(trained, killed)
    # Training resumes from the weights, not from their averages.
    ours, theirs = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (trained, killed))
    for part in ("current_model_state", "averaging_state"):
        torch.testing.assert_close(ours[part], theirs[part], rtol=0, atol=0)
    summaries = [json.loads((run / "summary.json").read_text()) for run in (trained, killed)]
    for key in ("validation", "test", "best_epoch", "steps"):
        assert summaries[0][key] == summaries[1][key]
