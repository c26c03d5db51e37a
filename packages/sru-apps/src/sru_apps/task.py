"""The records of a task and of a command; importing this module imports nothing slow."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple


class Command(NamedTuple):
    """One row of a table of commands; its module is imported only when the command is chosen."""

    help: str
    """One line for the list of commands."""
    target: str
    """`"module:function"`; the function takes the remaining arguments and returns an exit status. Or
    `"module:TASK"`, a task with commands of its own."""
    page: str = ""
    """`"module:function"` that returns its help without importing torch, given what the user has typed, the
    task, and whether to describe every option. By default, the help describes its `parse_options` call."""
    recipes: Sequence[str] | None = None
    """The recipes that it accepts; default: all recipes of the task."""

    @property
    def is_task(self) -> bool:
        """Whether it is a task, which has commands of its own."""
        return self.target.endswith(":TASK")

    def load(self) -> Callable[..., int] | Task:
        """Import the module and return what the target names."""
        return load(self.target)  # type: ignore[no-any-return]


def load(target: str) -> Any:
    """Import the object that `"module:name"` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


_HELP, _EVALUATE = "sru_apps.train.help", "sru_apps.train.evaluate"
GENERIC = {
    "prepare": Command("prepare the data once for all runs", f"{_EVALUATE}:prepare", f"{_HELP}:prepare"),
    "fit": Command("train, test the best checkpoint and export it", "sru_apps.train.fit:fit", f"{_HELP}:fit"),
    "validate": Command(
        "evaluate a checkpoint on the validation set", f"{_EVALUATE}:validate", f"{_HELP}:evaluate"
    ),
    "test": Command("evaluate a checkpoint on the test set", f"{_EVALUATE}:test", f"{_HELP}:evaluate"),
    "table": Command(
        "mean and spread of finished runs with different seeds or folds",
        "sru_apps.train.table:table",
        "sru_apps.train.table:page",
    ),
}
"""The commands that work for every task."""


DATA_DIR = (
    "--data-dir",
    "data.data_dir",
    str,
    "Folder with the data; default: as in training, else $SRU_DATA.",
)
"""The option of `validate` and `test` for the folder of published data."""


def moved_files(names: Iterable[str]) -> tuple[tuple[str, str, Any, str], ...]:
    """Return the options of `validate` and `test` for the current location of a user's own files.

    Args:
        names: The options of the data that name them, such as `train_file`.
    """
    return tuple(
        (
            f"--{name.replace('_', '-')}",
            f"data.{name}",
            list[str] | str,
            f"The current location of the files of --data.{name}; default: as in training.",
        )
        for name in names
    )


@dataclass(frozen=True, kw_only=True)
class Task:
    """Everything that the trainer and the `sru` command need to know about a task.

    The names of classes are `"module:class"`, so that help never imports torch.
    """

    name: str
    """The name of the task in `sru`, in exports and in checkpoints."""
    description: str
    """What `sru TASK --help` shows above the commands."""
    data: str
    """A `TaskData`: its constructor's arguments are the options `--data.*`."""
    module: str
    """A `TaskModule`: the fields of its `config_class` that have a default are the options `--model.*`."""
    figures: Sequence[str]
    """Validation figures to record, if the module logs them. The first determines the best epoch."""
    mode: Literal["max", "min"]
    """Whether the highest or the lowest value of that figure is best."""
    usage: Sequence[str]
    """The most common forms of `fit`: what `sru TASK fit --help` shows after the name of the command."""
    examples: Sequence[str]
    """The same, with example values."""
    common: Sequence[str]
    """Options, such as `data.data_dir`, that this help shows besides those common to every task."""
    predictor: str = ""
    """A `Trained`, which loads and runs trained models without importing the trainer."""
    missing: str = ""
    """The error message if a required option of the data is missing."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Defaults of options that differ from those of the classes."""
    movable: frozenset[str] = frozenset({"data_dir"})
    """Options of the data that a continued run may change, such as the place of a file."""
    evaluation: tuple[tuple[str, str, Any, str], ...] = ()
    """Options of `validate` and `test`, as (option, "data.NAME" or "model.NAME", type, help)."""
    report: str | None = None
    """A function `(module, data, folder, *, part, device, **options)` that measures more than the figures,
    writes files to a folder and returns a `Report`. It is called after the test of a fit, and for `--out` of
    `validate` and `test`."""
    report_options: tuple[tuple[str, Any, Any, str], ...] = ()
    """Options of `fit` for the report, as (option, type, default, help)."""
    generic: tuple[str, ...] = ("fit", "validate", "test", "table")
    """The commands of `GENERIC` that the task has."""
    commands: Mapping[str, Command] = field(default_factory=dict)
    """Its own commands."""

    @property
    def recipes(self) -> Path:
        """The folder of packaged settings, next to the task's module."""
        return Path(str(files(self.data.partition(":")[0].rpartition(".")[0]))) / "recipes"

    def table(self) -> dict[str, Command]:
        """Return every command of the task."""
        return {name: GENERIC[name] for name in self.generic} | dict(self.commands)


def closest(word: str, known: Sequence[str]) -> str:
    """Name the known word that resembles `word`: `" Did you mean 'x'?"`, or nothing."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
