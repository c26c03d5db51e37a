"""A killed run reaches the weights of an uninterrupted one."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sru_apps.cli import main

pytest.importorskip("jiwer", reason="error rates are computed by jiwer")


@pytest.mark.usefixtures("one_thread")
def test_a_killed_run_resumes_exactly(
    trained: Path,
    options: list[str],
    assert_same_checkpoints: Callable[[Path, Path], None],
    run_and_stop: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    extra = ["--name=killed", "--checkpoint-steps=3", "--optimizer.schedule=cosine"]
    done = run_and_stop(7, "SIGKILL", "speech", "fit", *options, *extra)
    assert done.returncode == -signal.SIGKILL, done.stderr
    killed = trained.parent / "killed"
    assert main(["speech", "fit", f"--resume={killed}"]) == 0
    assert_same_checkpoints(trained, killed)
    summaries = [json.loads((run / "summary.json").read_text()) for run in (trained, killed)]
    for key in ("validation", "test", "best_epoch", "steps"):
        assert summaries[0][key] == summaries[1][key]
