"""Exported models: `model.safetensors`, `config.json` and a tokenizer, none of which can run code."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sru_apps.train.errors import UserError
from sru_data.atomic import atomic_write
from sru_data.tokenizers import Tokenizer, load_tokenizer

_JSON_NAME, _BINARY_NAME = "tokenizer.json", "tokenizer.model"


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


def dump_tokenizer(tokenizer: Tokenizer) -> str:
    """Return the content of the file that the tokenizer saves itself to: JSON, or base64 where it is binary."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer")
        tokenizer.save(path)
        content = path.read_bytes()
    return content.decode() if _is_json(content) else base64.b64encode(content).decode("ascii")


def parse_tokenizer(content: str) -> Tokenizer:
    """Undo `dump_tokenizer`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer")
        path.write_bytes(_bytes(content))
        return load_tokenizer(path)


def export_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write a tokenizer to a folder, as `tokenizer.json` or `tokenizer.model`."""
    content = _bytes(dump_tokenizer(tokenizer))
    names = [_JSON_NAME, _BINARY_NAME] if _is_json(content) else [_BINARY_NAME, _JSON_NAME]
    with atomic_write(folder / names[0]) as file:
        file.write(content)
    (folder / names[1]).unlink(missing_ok=True)


def read_exported_tokenizer(folder: Path) -> Tokenizer:
    """Read what `export_tokenizer` wrote."""
    binary = folder / _BINARY_NAME
    return load_tokenizer(binary if binary.is_file() else folder / _JSON_NAME)


def _bytes(content: str) -> bytes:
    return content.encode() if _is_json(content.encode()) else base64.b64decode(content)


def _is_json(content: bytes) -> bool:
    return content.lstrip().startswith(b"{")
