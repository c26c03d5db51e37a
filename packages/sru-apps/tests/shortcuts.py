"""Parts of training that the tests skip, here and in the processes of fork_server.py."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import docstring_parser
import numpy as np
from lightning_fabric.utilities import registry
from matplotlib.figure import Figure

from sru_apps.task import Task
from sru_apps.train import job
from sru_apps.train.options import OptionParser

DRAWING = {
    name: getattr(Figure, name) for name in ("add_subplot", "subplots", "colorbar", "legend", "savefig")
}
"""The drawing methods used outside the tests."""


class Nothing:
    """A stand-in for the axes of a picture that accepts every call."""

    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__"):
            raise AttributeError(name)  # NumPy asks for them.
        return self

    def __call__(self, *args: Any, **options: Any) -> Nothing:
        return self

    def __iter__(self) -> Any:
        return iter(())


def subplots(figure: Figure, rows: int = 1, columns: int = 1, *, squeeze: bool = True, **_: Any) -> Any:
    axes = np.full((rows, columns), Nothing(), dtype=object)
    return axes.squeeze() if squeeze else axes


def take_shortcuts(replace: Callable[[Any, str, Any], None]) -> None:
    """Replace attributes of modules and classes.

    Args:
        replace: `setattr`, or something that can undo it.
    """
    # Drawing takes most of the time of a tiny training run.
    replace(Figure, "subplots", subplots)
    for name in ("add_subplot", "colorbar", "legend"):
        replace(Figure, name, lambda figure, *args, **options: Nothing())
    replace(Figure, "savefig", lambda figure, file, **options: file.write(b"left out"))
    # Called dozens of times per run, for milliseconds each; only a power failure would show the difference.
    replace(os, "fsync", lambda file: None)
    # Each run parses the docstrings of all options from their sources and looks for plugins again.
    replace(docstring_parser, "parse_from_object", functools.cache(docstring_parser.parse_from_object))
    replace(registry, "entry_points", functools.cache(registry.entry_points))
    # Building a parser of a hundred options takes longer than training a tiny model for an epoch.
    make, made = job.fit_parser, dict[int, tuple[Task, OptionParser]]()

    def fit_parser(task: Task, *classes: type) -> OptionParser:
        if id(task) not in made:
            made[id(task)] = task, make(task, *classes)
        return made[id(task)][1]

    replace(job, "fit_parser", fit_parser)
