"""Recipes: YAML files of options, packaged with their task."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from sru_apps.commands import closest
from sru_apps.training.errors import UserError


def recipe_names(package: str) -> list[str]:
    """Name the recipes of a task's package, such as `sru_apps.classification`, in alphabetic order."""
    return sorted(path.stem for path in _folder(package).glob("*.yaml"))


def recipe_path(package: str, name: str) -> Path:
    """Find a recipe.

    Args:
        package: The task's package.
        name: The recipe's name, without `.yaml`.

    Returns:
        The path of the YAML file.

    Raises:
        UserError: When there is no such recipe; lists the ones there are.
    """
    names = recipe_names(package)
    if name not in names:
        raise UserError(f"unknown recipe {name!r}.{closest(name, names)} Valid recipes: {', '.join(names)}")
    return _folder(package) / f"{name}.yaml"


def _folder(package: str) -> Path:
    return Path(str(files(package))) / "recipes"
