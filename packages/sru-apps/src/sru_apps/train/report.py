"""The report that a task writes about a trained model besides its figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sru_apps.task import Task, load


class Report(NamedTuple):
    """The results of a task's report, besides the files it has written."""

    text: str = ""
    """Lines to print; may be empty."""
    figures: Mapping[str, float] = {}
    """Further figures of the part of the data, such as `macro_f1`."""
    exported: Mapping[str, Any] = {}
    """Further entries of the exported `config.json` and of the hyper-parameters of the best checkpoint."""


def report(task: Task, module: Any, data: Any, folder: Path, **options: Any) -> Report:
    """Have a task write its report on a model to a folder, if it has one.

    Args:
        task: The task.
        module: The trained module.
        data: Its data, set up.
        folder: Where the files go.
        options: `part` of the data, `device`, and the task's own options of `fit`.
    """
    if task.report is None:
        return Report()
    found: Report = load(task.report)(module, data, folder, **options)
    return found
