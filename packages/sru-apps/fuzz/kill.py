"""SIGKILL at random moments of a small training run: the resumed run equals an uninterrupted one bitwise."""

from __future__ import annotations

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import samples
from cases import Case
from hypothesis import strategies as st

from sru_apps.train.weights import read_checkpoint

SECONDS = 120
MEMORY = 1 << 40  # no limit, since the child processes would inherit it
PROGRAM = "import samples, sys; samples.use_tiny_sets(); sys.exit(samples.main())"
OPTIONS = ("--trainer.max_epochs=4", "--checkpoint-steps=3", "--name=trained")


def refuses(error: BaseException) -> bool:
    """Nothing is refused here."""
    return False


def prepare(folder: Path) -> None:
    """Train each task without interruption, for the expected result and the duration."""
    samples.write_data(folder / "kill")
    for task in samples.TASKS:
        start = time.monotonic()
        assert _start(folder / "kill", *samples.fit_options(task, folder / "kill"), *OPTIONS).wait() == 0
        (folder / f"seconds-{task}").write_text(str(time.monotonic() - start))


def _start(folder: Path, *args: str) -> subprocess.Popen[bytes]:
    """Start `sru` in its own process group, with its output in log.txt."""
    here = Path(__file__).resolve()
    paths = [str(here.parent), str(here.parents[3] / "ci/fuzz")]
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *args],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _content(run: Path) -> tuple[Any, ...]:
    """Return the results that must not depend on kills: weights, optimizer state, step and metrics."""
    last = read_checkpoint(run / "checkpoints/last.ckpt")
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    figures = [{key: value for key, value in row.items() if "second" not in key} for row in rows]
    return last["state_dict"], last["optimizer_states"], last["global_step"], figures


def kills(case: Case) -> None:
    """Kill a training run up to three times, resume it each time, and compare."""
    task = case.draw(st.sampled_from(samples.TASKS), "task")
    whole = float((case.samples / f"seconds-{task}").read_text())
    samples.write_data(case.folder)
    fit = [*samples.fit_options(task, case.folder), *OPTIONS]
    run = samples.run_folder(task, case.folder)
    resume = [task, "fit", f"--resume={run}"]
    for _ in range(case.draw(st.integers(1, 3), "kills")):
        args = resume if (run / "checkpoints/last.ckpt").exists() else fit
        process = _start(case.folder, *args)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(case.draw(st.floats(0.4, 1.0), "moment") * whole)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    # Whatever was saved, either resuming or starting again must work.
    continued = any(_start(case.folder, *args).wait() == 0 for args in (resume, fit))
    assert continued, (
        f"neither --resume nor the original command works: {(case.folder / 'log.txt').read_text()[-300:]}"
    )
    found = samples.differences(_content(samples.run_folder(task, case.samples / "kill")), _content(run))
    assert not found, f"differs: {found[:5]}"
    left = [path.name for path in run.rglob("*.partial")]
    assert not left, f"partial files left behind: {left}"
