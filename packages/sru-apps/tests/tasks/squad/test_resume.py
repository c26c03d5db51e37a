"""A killed run reaches the weights of an uninterrupted one."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from sru_apps.cli import main


def test_a_killed_run_resumes_exactly(
    fit: Callable[..., Path],
    options: list[str],
    assert_same_checkpoints: Callable[[Path, Path], None],
    run_and_stop: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    every = ["--checkpoint-steps=2", "--optimizer.schedule=cosine"]
    undisturbed = fit("undisturbed", *every)
    done = run_and_stop(9, "SIGKILL", "squad", "fit", *options, *every, "--name=killed")
    assert done.returncode == -signal.SIGKILL, done.stderr
    killed = undisturbed.parent / "killed"
    assert main(["squad", "fit", f"--resume={killed}"]) == 0
    assert_same_checkpoints(undisturbed, killed)
    summaries = [json.loads((run / "summary.json").read_text()) for run in (undisturbed, killed)]
    for key in ("validation", "best_epoch", "steps"):
        assert summaries[0][key] == summaries[1][key]
