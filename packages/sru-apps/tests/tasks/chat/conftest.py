from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main

TURNS = [{"user": f"say {letter}", "bot": letter} for letter in "abcd"]
TALK = [*TURNS, *({"conversation": [one, other]} for one in TURNS for other in TURNS)] * 2


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of dialogues in which the bot repeats a letter."""
    path = tmp_path_factory.mktemp("data") / "talk.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in TALK))
    return path


def small_options(talk: Path, runs: Path) -> list[str]:
    """Return options for a fast `sru chat fit` that still learns the letters."""
    return [
        f"--data.train_file={talk}",
        f"--runs-dir={runs}",
        "--data.unit=characters",
        "--data.batch_size=4",
        "--model.embedding_size=16",
        "--model.hidden_size=64",
        "--model.num_layers=1",
        "--optimizer.lr=0.02",
        "--trainer.max_epochs=16",
        "--trainer.accelerator=cpu",
    ]


@pytest.fixture(scope="session")
def trained_run(talk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The read-only run folder of a gated linear RNN that has learnt the dialogues."""
    runs = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(["chat", "fit", *small_options(talk, runs), "--name=trained"]) == 0
    torch.set_num_threads(threads)
    return runs / "chat" / "talk" / "trained"
