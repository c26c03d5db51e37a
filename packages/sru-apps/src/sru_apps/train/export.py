"""Exported models: `model.safetensors` and `config.json`, with nothing in them that can run code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sru_apps.train.errors import UserError
from sru_data.atomic import atomic_write


def export_model(folder: Path, weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Write weights and configuration.

    Args:
        folder: The folder; made when missing.
        weights: The state of a module.
        config: What builds the module, with `task` among it; plain types only.
    """
    with atomic_write(folder / "model.safetensors") as file:
        file.write(save({name: weight.detach().cpu().contiguous() for name, weight in weights.items()}))
    with atomic_write(folder / "config.json") as file:
        file.write((json.dumps(config, indent=2) + "\n").encode())


def read_export(folder: Path, *, task: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `export_model` wrote.

    Args:
        folder: The folder.
        task: The task that the model must be for.

    Returns:
        The weights and the configuration.

    Raises:
        UserError: When a file is missing or damaged, or the model is for another task.
    """
    config_path, weights_path = folder / "config.json", folder / "model.safetensors"
    for path in (config_path, weights_path):
        if not path.is_file():
            raise UserError(f"{folder} is not an exported model: {path.name} is missing")
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{config_path} is damaged: {error}") from error
    check_task(config.get("task") if isinstance(config, dict) else None, task, config_path)
    try:
        return load_file(weights_path), config
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{weights_path} is damaged: {error}") from error


def check_task(found: object, expected: str, path: Path) -> None:
    """Refuse the checkpoint of another task.

    Args:
        found: The task that the file names, or None.
        expected: The task at hand.
        path: The file.

    Raises:
        UserError: When they differ.
    """
    if found != expected:
        made_by = "no task of this program" if found is None else f"`sru {found}`"
        raise UserError(f"{path} was made by {made_by}; expected one made by `sru {expected}`")
