"""The `--help` of the commands that every task has, without importing torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sru_apps.task import Command, Task
from sru_apps.train.layout import Option, command_page, described, fill, section, usage
from sru_apps.train.options import (
    CONFIG,
    TRAINER,
    evaluation_options,
    recipe_names,
    recipe_path,
    run_options,
)
from sru_apps.train.short_names import short_names, shortened
from sru_apps.train.signatures import command_options, config_options, data_options
from sru_apps.train.wrong_options import refuse
from sru_apps.train.yaml_files import GROUPS, RENAMED

COMMON = (
    *("recipe", "config", "name", "resume", "seed", "model.encoder"),
    *("trainer.max_epochs", "optimizer.lr", "trainer.accelerator"),
)
"""The options of `fit` that most people use, for every task."""
_SECTIONS = {"optimizer": "training", "trainer": "training"}
"""The groups that short help shows under another title."""
_RULE = (
    "Options are listed with their full names, as in YAML files. On the command line you can omit the group "
    "unless the name is ambiguous: --batch-size is --data.batch_size; --epochs is --trainer.max_epochs. "
    "Pass several values (...) after an option, or repeat it."
)


def fit_options(task: Task) -> dict[str, list[Option]]:
    """Return every option of `sru TASK fit`, by its group."""
    groups = {
        "run": [*run_options(task), CONFIG],
        "data": data_options(task.data),
        "model": config_options(task.module, "model"),
        "optimizer": config_options("sru_apps.train.optimizers:OptimizerConfig", "optimizer"),
        "trainer": TRAINER,
    }
    defaults = {f"--{name}": value for name, value in task.defaults.items()}
    return {
        group: [(name, kind, defaults.get(name, default), text) for name, kind, default, text in options]
        for group, options in groups.items()
    }


def fit(prog: str, task: Task, every: bool) -> str:
    """Describe `sru TASK fit`, or another command with its options.

    Args:
        prog: The command as the user types it.
        task: The task.
        every: Whether to describe every option, or only those that most people use.
    """
    text = task.table()[prog.rpartition(" ")[2]].help
    return _page(prog, task, every, f"{text[0].upper()}{text[1:]}.", fit_options(task))


def prepare(prog: str, task: Task, every: bool) -> str:
    """Describe `sru TASK prepare`; the arguments are those of `fit`."""
    recipe = [option for option in run_options(task) if option[0] == "--recipe"]
    description = "Prepare the data once for all runs that use it."
    return _page(prog, task, every, description, {"run": recipe, "data": data_options(task.data)})


def evaluate(prog: str, task: Task, every: bool) -> str:
    """Describe `sru TASK validate` and `test`; the arguments are those of `fit`."""
    part = {"validate": "validation", "test": "test"}[prog.rpartition(" ")[2]]
    description = f"Evaluate a checkpoint on its {part} set."
    return command_page(prog, description, evaluation_options(task))


def own(prog: str, target: str, task: Task | None) -> str | None:
    """Describe a command that calls `parse_options`, if its source can be read.

    Args:
        prog: The command as the user types it.
        target: The `"module:function"` that runs it.
        task: The task.
    """
    found = _own_options(target, task)
    return None if found is None else command_page(prog, *found)


def check_names(prog: str, command: Command, task: Task | None, args: Sequence[str]) -> None:
    """Refuse options that a command does not have, if they can be known without importing it.

    Args:
        prog: The command as the user types it.
        command: The command.
        task: The task.
        args: The command line after it.

    Raises:
        SystemExit: The command has no such option.
    """
    recipes: list[str] = []
    if task is not None and command.page in (f"{__name__}:fit", f"{__name__}:prepare"):
        options = [option for rows in fit_options(task).values() for option, *_ in rows]
        files = [f"--{name}" for name in (*GROUPS, *RENAMED, "task", "print_config")]
        recipes = recipe_names(task)
    elif task is not None and command.page == f"{__name__}:evaluate":
        options, files = [option for option, *_ in evaluation_options(task)], []
    elif (found := None if command.page else _own_options(command.target, task)) is not None:
        options, files = [option for option, *_ in found[1]], []
    else:
        return
    known = {*options, *short_names(options), *files, "--", "--help", "--help-all"}
    for arg in args:
        name = arg.partition("=")[0]
        if name == "--":
            return
        # A + appends to a list.
        if name.startswith("--") and not {name, name.replace("_", "-")} & known and name[-1] != "+":
            refuse(prog, f"unrecognized arguments: {arg}", [o for o in options if o[0] == "-"], recipes)


def _own_options(target: str, task: Task | None) -> tuple[str, list[Option]] | None:
    return command_options(target, {} if task is None else {"task.name": task.name})


def _page(prog: str, task: Task, every: bool, description: str, groups: dict[str, list[Option]]) -> str:
    parts = [usage(f"{prog} {form} [OPTION ...]" for form in task.usage), fill(description)]
    if every:
        parts += [
            fill(_RULE),
            *(section(group, map(described, options)) for group, options in groups.items()),
        ]
    else:
        parts += [section(title, map(described, rows)) for title, rows in _chosen(task, groups).items()]
    command = task.table()[prog.rpartition(" ")[2]]
    parts.append(section("recipes", _recipes(task, command.recipes or recipe_names(task))))
    if prog.endswith(" fit"):
        parts.append("\n".join(["examples:", *(f"  {prog} {example}" for example in task.examples)]))
    if not every:
        count = sum(map(len, groups.values()))
        parts.append(f"`{prog} --help-all` describes all {count} options.")
    return "\n\n".join(parts)


def _chosen(task: Task, groups: dict[str, list[Option]]) -> dict[str, list[Option]]:
    """Return the options that most people use, under the names they are typed with."""
    written = shortened(name for options in groups.values() for name, *_ in options)
    chosen: dict[str, list[Option]] = {}
    for group, options in groups.items():
        rows = [option for option in options if option[0][2:] in (*COMMON, *task.common)]
        if rows:
            chosen.setdefault(_SECTIONS.get(group, group), []).extend(rows)
    # Epochs before the learning rate, regardless of the order of their groups.
    chosen.get("training", []).sort(key=lambda option: COMMON.index(option[0][2:]))
    return {title: [(written[name], *rest) for name, *rest in options] for title, options in chosen.items()}


def _recipes(task: Task, names: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Yield each recipe with its first sentence."""
    for name in names:
        first, _, _ = recipe_path(task, name).read_text("utf-8").partition("\n")
        yield name, first.removeprefix("# ").partition(". ")[0].removesuffix(".")
