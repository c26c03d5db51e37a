"""Settings from recipes, runs and files: former names of options, short forms, and how they reach the parser."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
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
    settings.pop("seed_everything", None)
    renamed = []
    for old, new in RENAMED.items():
        group, _, name = old.rpartition(".")
        value = (settings.get(group) or {} if group else settings).pop(name, None)
        if value is not None:
            new_group, _, new_name = new.partition(".")
            settings.setdefault(new_group, {})[new_name] = value
            renamed.append(f"{old} is now {new}")
    if renamed:
        warnings.warn(f"{path} has former names of options: {', '.join(renamed)}", stacklevel=2)
    for name in _GONE:
        # How the optimizer computes is no option any more; what it computes would change without the others.
        value = (settings.get("optimizer") or {}).pop(name, None)
        if value and name not in ("foreach", "fused"):
            raise UserError(
                f"{path}: there is no option optimizer.{name} any more, got {value}; leave it out"
            )
    return settings


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
    pairs = zip(args, [*args[1:], None], strict=False)
    values = [arg[len(option) + 1 :] or after for arg, after in pairs if arg.partition("=")[0] == option]
    return values[-1] if values else None
