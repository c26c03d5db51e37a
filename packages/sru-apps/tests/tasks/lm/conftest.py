from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sru_apps.cli import main


def small_options(texts: Path, runs: Path) -> list[str]:
    """Return options for a fast `sru lm fit`: 3 epochs of 20 segments."""
    return [
        f"--data.train_file={texts / 'train.txt'}",
        f"--data.validation_file={texts / 'valid.txt'}",
        f"--data.test_file={texts / 'test.txt'}",
        f"--data.prepared_dir={texts / 'prepared'}",
        f"--runs-dir={runs}",
        "--data.unit=words",
        "--data.batch_size=4",
        "--data.length=9",
        "--model.embedding_size=6",
        "--model.hidden_size=8",
        "--model.dropout=0.2",
        "--optimizer.lr=0.01",
        "--trainer.max_epochs=3",
        "--trainer.accelerator=cpu",
    ]


@pytest.fixture
def options(tiny_texts: Path, tmp_path: Path) -> list[str]:
    return small_options(tiny_texts, tmp_path / "runs")


@pytest.fixture
def fit(options: list[str], tmp_path: Path, one_thread: None) -> Callable[..., Path]:
    """Train on one thread with `small_options` and further options, and return the run folder."""

    def run(name: str, *more: str, status: int = 0) -> Path:
        assert main(["lm", "fit", *options, f"--name={name}", *more]) == status
        return tmp_path / "runs/lm/train" / name

    return run
