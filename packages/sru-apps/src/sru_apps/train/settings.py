"""Settings from recipes, runs and files: former names of options, short forms, and how they reach the parser."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from sru_apps.task import Task, closest
from sru_apps.train.errors import UserError

SHORT = {
    "--encoder": "--model.encoder",
    "--data-dir": "--data.data_dir",
    "--embeddings": "--data.embeddings",
}
"""Short forms of options, on the command line only."""
RENAMED = {
    "optimizer.learning_rate": "optimizer.lr",
    "encoder": "model.encoder",
    "data_dir": "data.data_dir",
    "embeddings": "data.embeddings",
}
"""Former names of options, which files may still use."""
_GONE = ("amsgrad", "maximize", "capturable", "differentiable", "foreach", "fused")
"""Former options of the optimizer."""


def recipe_names(task: Task) -> list[str]:
    """Name the recipes of a task in alphabetical order."""
    return sorted(path.stem for path in task.recipes.glob("*.yaml"))


def recipe_path(task: Task, name: str) -> Path:
    """Find a recipe.

    Args:
        task: The task.
        name: The recipe's name, without `.yaml`.

    Raises:
        UserError: There is no such recipe; lists the ones there are.
    """
    names = recipe_names(task)
    if name not in names:
        raise UserError(f"unknown recipe {name!r}.{closest(name, names)} Valid recipes: {', '.join(names)}")
    return task.recipes / f"{name}.yaml"


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML file of options and rename what has had another name, with one warning.

    Raises:
        UserError: The file is missing or damaged.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} is damaged or holds no settings: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path} is damaged or holds no settings: expected option: value, got {settings!r}")
    flat = dict(_flatten(settings))
    renamed = {name: RENAMED[name] for name in flat if name in RENAMED}
    if renamed:
        pairs = ", ".join(f"{old} is now {new}" for old, new in renamed.items())
        warnings.warn(f"{path} has former names of options: {pairs}", stacklevel=2)
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        if name == "seed_everything" or (name in renamed and value is None):
            continue
        if name.removeprefix("optimizer.") in _GONE:
            # How the optimizer computes is no option any more; what it computes would change without these.
            if value and not name.endswith(("foreach", "fused")):
                raise UserError(f"{path}: there is no option {name} any more, got {value}; leave it out")
            continue
        *groups, last = renamed.get(name, name).split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return nested


def with_settings(args: Sequence[str], settings: Path | None) -> list[str]:
    """Return a command line in which short forms are written out and files of settings are read.

    Args:
        args: The command line.
        settings: A file whose settings come before all others.
    """
    found = [] if settings is None else ["--config", yaml.safe_dump(read_settings(settings))]
    rest = iter(args)
    for arg in rest:
        option, equals, value = arg.partition("=")
        option = SHORT.get(option, option)
        if option == "--config":
            value = value if equals else next(rest, "")
            found += [option, yaml.safe_dump(read_settings(Path(value)))]
        elif option.removeprefix("--") in RENAMED:
            new = f"--{RENAMED[option.removeprefix('--')]}"
            warnings.warn(f"{option} is now {new}", stacklevel=2)
            found.append(new + equals + value)
        else:
            found.append(option + equals + value)
    return found


def peek(args: Sequence[str], option: str) -> str | None:
    """Read one option before the parser exists, since it decides about the settings that come first.

    Args:
        args: The command line.
        option: The option, such as `--recipe`.

    Returns:
        Its last value, or None.
    """
    value = None
    for index, arg in enumerate(args):
        if arg == option and index + 1 < len(args):
            value = args[index + 1]
        elif arg.startswith(option + "="):
            value = arg[len(option) + 1 :]
    return value


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
