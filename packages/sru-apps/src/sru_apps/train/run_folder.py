"""Where a run keeps its files: `runs/TASK/GROUP/NAME/`.

- `config.yaml`: every option, read again by `--resume`
- `checkpoints/best.ckpt`, `checkpoints/last.ckpt`: for testing and for resuming
- `model/`: the exported model, for predicting
- `metrics.csv`, `tensorboard/`: one row per epoch
- `learning_curve.png`, `summary.json`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sru_apps.train.errors import UserError, reading
from sru_data.atomic import atomic_write


class RunFolder:
    """The paths of a run.

    Args:
        path: The folder itself.

    Attributes:
        config: Every option of the run.
        checkpoints: The folder of the two checkpoints.
        best: The checkpoint with the best validation figure.
        last: The checkpoint to continue from.
        model: The exported model.
        metrics: The table of figures.
        learning_curve: The picture.
        summary: The summary for machines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.checkpoints, self.model = path / "config.yaml", path / "checkpoints", path / "model"
        self.best, self.last = self.checkpoints / "best.ckpt", self.checkpoints / "last.ckpt"
        self.metrics, self.learning_curve = path / "metrics.csv", path / "learning_curve.png"
        self.summary = path / "summary.json"

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the summary."""
        with atomic_write(self.summary) as file:
            file.write((json.dumps(summary, indent=2) + "\n").encode())

    def read_summary(self, *entries: str) -> list[Any]:
        """Read some entries of the summary.

        Raises:
            UserError: It is missing or damaged.
        """
        if not self.summary.is_file():
            raise UserError(f"no summary at {self.summary}; give run folders whose training has ended")
        with reading(self.summary, kind="a summary"):
            content = json.loads(self.summary.read_text(encoding="utf-8"))
            return [content[name] for name in entries]


def new_run(group: Path, name: str | None = None, *, remedy: str = "choose another --name") -> RunFolder:
    """Name the folder of a new run, which is made with the first file in it.

    Args:
        group: The folder of like runs, such as `runs/classify/sst2`.
        name: The run's name; the time of day by default.
        remedy: What to do when the folder is in use.

    Returns:
        A run folder that is missing or empty.

    Raises:
        UserError: The folder exists and is not empty.
    """
    path = group / (name or datetime.now().strftime("%Y%m%d-%H%M%S-%f"))
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} exists and is not empty; {remedy}")
    return RunFolder(path)


def find_run(path: Path) -> RunFolder:
    """Find the run to continue.

    Args:
        path: The run folder, or a checkpoint in it.

    Returns:
        The run folder, which holds `config.yaml`.

    Raises:
        UserError: There is no such path, or it is not a run folder.
    """
    if not path.exists():
        raise UserError(f"no run at {path}; give a run folder, or a checkpoint in one")
    run = RunFolder(path if path.is_dir() else path.parent.parent)
    if not run.config.is_file():
        raise UserError(f"{path} is not a run folder or a checkpoint in one: {run.config} is missing")
    return run


def find_checkpoint(path: Path, *, last: bool = False) -> Path:
    """Find the checkpoint that a user meant.

    Args:
        path: A checkpoint file, which is returned as it is, or a run folder.
        last: Take a run folder's last checkpoint instead of its best one.

    Returns:
        The path of a checkpoint that exists.

    Raises:
        UserError: There is none.
    """
    if path.is_dir():
        path = RunFolder(path).last if last else RunFolder(path).best
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    return path
