"""The files of a run, in `runs/TASK/GROUP/NAME/`.

- `config.yaml`: every option, read again by `--resume`
- `checkpoints/best.ckpt`, `checkpoints/last.ckpt`: for testing and for resuming
- `model/`: the exported model, for predicting
- `metrics.csv`: one row per validation
- `steps.csv`: one row every `--log-steps` steps
- `tensorboard/`: the rows of both tables
- `learning_curve.png`, `summary.json`
- `figures/`: the task's report on the test set, if it has one
- `.lock`: locked by the process that writes to the folder
"""

from __future__ import annotations

import fcntl
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sru_apps.train.errors import MisfitError, UserError, clip, is_text, reading
from sru_apps.train.strict_json import read_json, write_json
from sru_data.atomic import remove_temporaries

_LOCK = ".lock"
_LONGEST_NAME = 200


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
        metrics: The table of figures, a row per validation.
        steps: The table of the loss within the epochs.
        learning_curve: The plot of the learning curve.
        summary: The machine-readable summary.
        figures: The folder of the task's report.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.checkpoints, self.model = path / "config.yaml", path / "checkpoints", path / "model"
        self.best, self.last = self.checkpoints / "best.ckpt", self.checkpoints / "last.ckpt"
        self.metrics, self.learning_curve = path / "metrics.csv", path / "learning_curve.png"
        self.steps, self.summary, self.figures = path / "steps.csv", path / "summary.json", path / "figures"

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the summary."""
        write_json(self.summary, summary)

    def read_summary(self, *entries: str) -> list[Any]:
        """Read some entries of the summary.

        Raises:
            UserError: It is missing or damaged.
        """
        with reading(self.summary, kind="a summary"):
            content = self.load_summary()
            return [content[name] for name in entries]

    def load_summary(self) -> dict[str, Any]:
        """Read the summary.

        Raises:
            UserError: It is missing or damaged.
        """
        if not self.summary.is_file():
            raise UserError(f"no summary at {self.summary}; give run folders whose training has finished")
        with reading(self.summary, kind="a summary"):
            content = read_json(self.summary)
            if not isinstance(content, dict):
                raise MisfitError("expected entries by name")
            return content

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Prevent other processes from writing to the folder, which is created if missing, in the block.

        The kernel releases the lock when the process ends, for any reason. The first process of a run holds
        it for all of them. If the file system does not support locks, there is a warning.

        Raises:
            UserError: Another process holds the lock.
        """
        if not is_first_process():
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{self.path} is in use by another process; wait until it ends, or choose another --name",
                    status=2,
                ) from None
            except OSError as error:
                warnings.warn(
                    f"{self.path} cannot be locked ({error.strerror}); do not start a second run in it",
                    stacklevel=3,
                )
            else:
                for folder in (self.path, self.checkpoints, self.model, self.figures):
                    remove_temporaries(folder)
            yield
        finally:
            os.close(file)

    def check_unused(self) -> None:
        """Refuse the folder while another process holds its lock.

        Raises:
            UserError: Another process holds it.
        """
        if (self.path / _LOCK).is_file():
            with self.lock():
                pass

    def check_new(self, remedy: str = "choose another --name") -> None:
        """Refuse a folder that contains more than the leftovers of a process that was killed at its start.

        Args:
            remedy: What to do then.

        Raises:
            UserError: The folder contains more.
        """
        if not self.path.exists() or not is_first_process():
            return
        if not self.path.is_dir() or any(
            path.name != _LOCK and not path.name.endswith(".partial") for path in self.path.iterdir()
        ):
            raise UserError(f"{self.path} exists and is not empty; {remedy}")


def is_first_process() -> bool:
    """Whether this is the only process of a run, or the first of several, as numbered by their launchers."""
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in names)


def new_run(group: Path, name: str | None = None, *, remedy: str = "choose another --name") -> RunFolder:
    """Choose the folder of a new run; it is created with its first file.

    Args:
        group: The folder of similar runs, such as `runs/classify/sst2`.
        name: The run's name; default: the current time.
        remedy: What to do when the folder is in use.

    Returns:
        A run folder that is missing or empty.

    Raises:
        UserError: The name is not a folder name, or the folder exists and is not empty, or is in use.
    """
    run = RunFolder(group / folder_name(name))
    run.check_unused()
    run.check_new(remedy)
    return run


def folder_name(name: str | None) -> str:
    """Return the value of `--name`, or the current time.

    Raises:
        UserError: It is not a valid folder name.
    """
    if name is None:
        return datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    proper = is_text(name) and Path(name).name == name and name != ".."
    if not proper or not 0 < len(name.encode()) <= _LONGEST_NAME:
        raise UserError(
            f"--name must be the name of a folder, without /, of at most {_LONGEST_NAME} bytes, "
            f"got {clip(repr(name), 100)}"
        )
    return name


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
    run.check_unused()
    return run


def find_checkpoint(path: Path, *, last: bool = False) -> Path:
    """Find the checkpoint that a path refers to.

    Args:
        path: A checkpoint file, which is returned unchanged, or a run folder.
        last: Take a run folder's last checkpoint instead of its best one.

    Returns:
        The path of a checkpoint that exists.

    Raises:
        UserError: There is no checkpoint.
    """
    if path.is_dir():
        path = RunFolder(path).last if last else RunFolder(path).best
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}; give a run folder, or a .ckpt file in one")
    return path
