"""The options that determine what a run learns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sru_apps.task import Task

_PLACES = frozenset(
    {"task", "config", "recipe", "name", "runs_dir", "resume", "seeds", "checkpoint_steps", "log_steps"}
)
_MACHINE = frozenset(
    {"accelerator", "strategy", "devices", "num_nodes", "profiler", "detect_anomaly", "benchmark"}
)


def deciding_settings(task: Task, options: Mapping[str, Any], *, moved: bool = False) -> dict[str, Any]:
    """Return the options of `fit` except those for output paths and devices.

    Args:
        task: The task.
        options: The options, with a nested table for each group.
        moved: Treat files of the same name as equal, regardless of their folder.
    """
    kept = {name: value for name, value in options.items() if name not in _PLACES}
    trainer, data = (options.get(group) or {} for group in ("trainer", "data"))
    kept["trainer"] = {name: value for name, value in trainer.items() if name not in _MACHINE}
    kept["data"] = {
        name: _file(value, moved) if name in task.movable else value
        for name, value in data.items()
        if not (name in task.movable and name.endswith("_dir"))
    }
    return kept


def _file(value: Any, moved: bool) -> Any:
    """Normalise the name of a file, or each name of a list."""
    if isinstance(value, str):
        return os.path.basename(value) if moved else os.path.normpath(value)
    return [_file(part, moved) for part in value] if isinstance(value, list) else value
