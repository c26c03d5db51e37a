"""Exported models: `model.safetensors`, `config.json` and a tokenizer, none of which can run code."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor, nn

from sru_apps.train.errors import UserError, clip, reading
from sru_apps.train.strict_json import read_json, write_json
from sru_apps.train.weights import shared_names
from sru_data.atomic import atomic_write
from sru_data.tokenizers import Tokenizer, load_tokenizer

_JSON_NAME, _BINARY_NAME = "tokenizer.json", "tokenizer.model"


def export_model(folder: Path, network: nn.Module, config: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Write a network, with each shared weight once.

    Args:
        folder: The folder; created if missing.
        network: The network.
        config: The configuration that builds the network, including `task`; plain types only.
        tokenizer: Its tokenizer.
    """
    shared = shared_names(network)
    weights = {name: weight for name, weight in network.state_dict().items() if name not in shared}
    with atomic_write(folder / "model.safetensors") as file:
        file.write(save({name: weight.detach().cpu().contiguous() for name, weight in weights.items()}))
    write_json(folder / "config.json", config)
    content = _bytes(dump_tokenizer(tokenizer))  # type: ignore[arg-type]
    names = [_JSON_NAME, _BINARY_NAME] if _is_json(content) else [_BINARY_NAME, _JSON_NAME]
    with atomic_write(folder / names[0]) as file:
        file.write(content)
    (folder / names[1]).unlink(missing_ok=True)


def read_export(folder: Path, *, task: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `export_model` wrote.

    Args:
        folder: The folder.
        task: The task that the model must be for.

    Returns:
        The weights and the configuration.

    Raises:
        UserError: A file is missing or damaged, or the model is for another task.
    """
    config_path, weights_path = folder / "config.json", folder / "model.safetensors"
    for path in (config_path, weights_path):
        if not path.is_file():
            raise UserError(f"{folder} is not an exported model: {path.name} is missing")
    with reading(config_path, kind="a configuration"):
        config = read_json(config_path)
    check_task(config.get("task") if isinstance(config, dict) else None, task, config_path)
    with reading(weights_path, kind="a file of weights"):
        return load_file(weights_path), config


def check_task(found: object, expected: str, path: Path) -> None:
    """Refuse the checkpoint of another task.

    Args:
        found: The task that the file names, or None.
        expected: The task at hand.
        path: The file.

    Raises:
        UserError: The tasks differ.
    """
    if found != expected:
        made_by = "no task of this program" if found is None else f"`sru {clip(str(found), 40)}`"
        raise UserError(f"{path} was made by {made_by}; expected one made by `sru {expected}`")


@lru_cache(maxsize=2)
def dump_tokenizer(tokenizer: Any) -> str:
    """Return the file that the tokenizer saves as text: JSON, or base64 if it is binary."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer")
        tokenizer.save(path)
        content = path.read_bytes()
    return content.decode() if _is_json(content) else base64.b64encode(content).decode("ascii")


def parse_tokenizer(content: str, read: Callable[[Path], Any] = load_tokenizer) -> Any:
    """Undo `dump_tokenizer`.

    Args:
        content: The return value of `dump_tokenizer`.
        read: Reads the file of such a tokenizer.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer")
        path.write_bytes(_bytes(content))
        return read(path)


def read_exported_tokenizer(folder: Path, read: Callable[[Path], Any] = load_tokenizer) -> Any:
    """Read the tokenizer of an exported model.

    Args:
        folder: The folder.
        read: Reads the file of such a tokenizer.
    """
    binary = folder / _BINARY_NAME
    return read(binary if binary.is_file() else folder / _JSON_NAME)


def _bytes(content: str) -> bytes:
    return content.encode() if _is_json(content.encode()) else base64.b64decode(content)


def _is_json(content: bytes) -> bool:
    return content.lstrip().startswith(b"{")
