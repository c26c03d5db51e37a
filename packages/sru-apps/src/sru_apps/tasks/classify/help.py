"""What `--help` prints of the task's own commands, without waiting for torch."""

from __future__ import annotations

from dataclasses import replace

from sru_apps.task import Task
from sru_apps.train.help import fit


def crossval(prog: str, task: Task, every: bool) -> str:
    """Describe `sru classify crossval`, which has the options of `fit`.

    Args:
        prog: The command as the user types it.
        task: The task.
        every: Whether to describe every option.
    """
    description = (
        "Train and test on each of ten folds, as `fit` does, and print means and standard deviations. What is "
        "interrupted is continued by --resume FOLDER, or by the same command with the same --name."
    )
    examples = ("--recipe mr --name mr", "--train-file mail.csv --name mail --encoder lstm")
    return fit(prog, replace(task, examples=examples), every, description=description)
