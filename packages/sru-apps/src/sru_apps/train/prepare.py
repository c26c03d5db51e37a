"""`sru TASK prepare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sru_apps.task import Task, load
from sru_apps.train.errors import building
from sru_apps.train.options import OptionParser, add_options
from sru_apps.train.settings import peek, read_settings, recipe_names, recipe_path, with_settings


def prepare(task: Task, args: Sequence[str]) -> int:
    """Make the data ready, or continue to, and describe them.

    Args:
        task: The task.
        args: The command line after `sru TASK prepare`.

    Returns:
        The exit status.
    """
    kind = load(task.data)
    parser = OptionParser(
        prog=f"sru {task.name} prepare",
        description="Make the data ready, once, for all runs that read them. An interrupted preparation is "
        "continued; of two processes with the same data, one waits for the other.",
    )
    recipes = ", ".join(recipe_names(task))
    add_options(parser, [("--recipe", str | None, None, f"Packaged settings, for their data: {recipes}.")])
    parser.add_class_arguments(kind, "data", skip={"seed"}, instantiate=False)
    recipe = peek(args, "--recipe")
    if recipe is not None:
        data = read_settings(Path(recipe_path(task, recipe))).get("data", {})
        parser.set_defaults({f"data.{key}": value for key, value in data.items()})
    options = parser.parse_args(with_settings(args, None))
    with building():
        data = kind(**options.data.as_dict())
        data.prepare_data()
        data.setup("fit")
    print(data.report())
    return 0
