"""Which options decide what a run learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sru_apps.task import Task

_PLACES = frozenset(
    {"task", "config", "recipe", "name", "runs_dir", "resume", "seeds", "checkpoint_steps", "log_steps"}
)
_MACHINE = frozenset(
    {"accelerator", "strategy", "devices", "num_nodes", "profiler", "detect_anomaly", "benchmark"}
)


def deciding_settings(task: Task, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `fit` but those that say where files are and what the run computes on.

    Args:
        task: The task.
        options: The options, those of a group in a table.
    """
    kept = {name: value for name, value in options.items() if name not in _PLACES}
    for group, others in (("data", task.movable), ("trainer", _MACHINE)):
        kept[group] = {
            name: value for name, value in (options.get(group) or {}).items() if name not in others
        }
    return kept
