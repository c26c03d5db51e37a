"""Where a run keeps its files: `runs/TASK/GROUP/NAME/`.

- `config.yaml`: every option, read again by `--resume`
- `checkpoints/best.ckpt`, `checkpoints/last.ckpt`: for testing and for resuming
- `model/`: the exported model, for predicting
- `metrics.csv`, `tensorboard/`: one row an epoch
- `learning_curve.png`, `summary.json`
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sru_apps.train.errors import UserError


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run."""

    path: Path
    """The folder itself."""

    @property
    def config(self) -> Path:
        """Every option of the run."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """The folder of the two checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint with the best validation figure."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """The checkpoint to continue from."""
        return self.checkpoints / "last.ckpt"

    @property
    def model(self) -> Path:
        """The exported model."""
        return self.path / "model"

    @property
    def learning_curve(self) -> Path:
        """The picture."""
        return self.path / "learning_curve.png"

    @property
    def summary(self) -> Path:
        """The summary for machines."""
        return self.path / "summary.json"


def new_run(group: Path, name: str | None = None, *, remedy: str = "choose another --name") -> RunFolder:
    """Name the folder of a new run, which comes into being with the first file in it.

    Args:
        group: The folder of like runs, such as `runs/classify/sst2`.
        name: The run's name; the time of day by default.
        remedy: What to do when the folder is in use.

    Returns:
        A run folder that is missing or empty.

    Raises:
        UserError: When the folder exists and is not empty.
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
        UserError: When there is no such path, or it is no run folder.
    """
    if not path.exists():
        raise UserError(f"no run at {path}; give a run folder, or a checkpoint in one")
    run = RunFolder(path if path.is_dir() else path.parent.parent)
    if not run.config.is_file():
        raise UserError(f"{path} is not a run folder or a checkpoint in one: {run.config} is missing")
    return run


def find_checkpoint(path: Path, *, last: bool = False) -> Path:
    """Name the checkpoint that a user meant.

    Args:
        path: A checkpoint file, which is returned as it is, or a run folder.
        last: Whether a run folder stands for its last checkpoint rather than its best one.

    Returns:
        The path of a checkpoint that exists.

    Raises:
        UserError: When there is none.
    """
    if path.is_dir():
        run = RunFolder(path)
        path = run.last if last else run.best
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    return path
