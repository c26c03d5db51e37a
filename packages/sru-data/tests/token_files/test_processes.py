"""Real processes: SIGKILL, and two at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sru_data.token_files import open_prepared

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[Path, list[list[int]]]:
    """The folder that the processes wrote to, and their exit statuses."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "train.txt").write_text("".join(f"line number {number}\n" for number in range(60)))
    (folder / "validation.txt").write_text("line number 0\n" * 3)
    script = Path(__file__).with_name("preparing_processes.py")
    run = subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return folder, [json.loads(line) for line in run.stdout.splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_a_run_killed_again_and_again_gives_the_files_of_an_undisturbed_one(ran) -> None:
    folder, (killed, _) = ran
    assert killed == [-signal.SIGKILL] * 7 + [0]
    assert contents(folder / "killed") == contents(folder / "together")
    text = (folder / "train.txt").read_text()
    prepared = open_prepared(folder / "killed")
    assert prepared.train.tokens.tolist() == prepared.tokenizer.encode(text)


def test_of_two_processes_one_works_and_the_other_waits(ran) -> None:
    folder, (_, ends) = ran
    assert ends == [0, 0]
    assert (folder / "waiting").exists()
    assert not (folder / "tokenizer").exists()
    assert not (folder / "train").exists()
