"""Checkpoint files: read without running code from them, written whole or not at all."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sru_nn.checkpoints.convert import ConversionError, find_cells


def read_file(path: Path, entry: str | None = None) -> tuple[dict[str, Tensor], list[str]]:
    """Read the tensors of a checkpoint.

    Args:
        path: A file from `torch.save`, or one whose name ends in `.safetensors`.
        entry: The entry of the checkpoint that is the state dict; None to look for it.

    Returns:
        The state dict, and notes on how it was found.

    Raises:
        ConversionError: The file cannot be read without running code, or does not hold a state dict.
    """
    content = dict(safetensors().load_file(path)) if path.suffix == ".safetensors" else _load(path)
    notes = []
    if not isinstance(content, Mapping):
        raise ConversionError(f"it holds a {type(content).__name__}, not a state dict")
    if entry is None and not any(isinstance(value, Tensor) for value in content.values()):
        entry = _find_entry(content)
    if entry is not None:
        content = content.get(entry)
        if not isinstance(content, Mapping):
            raise ConversionError(f"its entry {entry!r} is not a state dict")
        notes.append(f"The state dict is the entry {entry!r}.")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if left := [str(name) for name in content if str(name) not in tensors]:
        notes.append(f"Left out, because they are not tensors: {', '.join(left)}.")
    return tensors, notes


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted is None:
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise ConversionError(f"torch.load cannot read it as tensors: {first[0]}") from None
        raise ConversionError(
            f"it holds more than tensors (it asks for {wanted[1]}), as a whole module does, and reading that "
            "would run code from the file. If you trust it, save only its state dict, where the old package "
            f"is installed: module = torch.load({str(path)!r}, weights_only=False); "
            "torch.save(module.state_dict(), 'state_dict.pt')"
        ) from None


def _find_entry(content: Mapping[Any, Any]) -> str:
    """Find the entry of a checkpoint that holds an SRU; there must be exactly one."""
    entries = [name for name, value in content.items() if isinstance(value, Mapping) and find_cells(value)]
    if len(entries) == 1:
        return entries[0]  # type: ignore[no-any-return]
    names = ", ".join(repr(name) for name in content) or "none"
    raise ConversionError(f"name the entry that is the state dict with --entry; there are {names}")


def write_file(path: Path, state_dict: Mapping[str, Tensor]) -> None:
    """Write safetensors.

    Args:
        path: The file.
        state_dict: Its tensors; those that share memory are written separately.

    Raises:
        ConversionError: The package safetensors is not installed.
    """
    # Copies, because the format knows no shared memory.
    copies = {name: x.detach().clone(memory_format=torch.contiguous_format) for name, x in state_dict.items()}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        safetensors().save_file(copies, partial, metadata={"format": "pt"})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def safetensors() -> Any:
    """Import the package that reads and writes safetensors."""
    try:
        import safetensors.torch
    except ImportError:
        raise ConversionError("the package safetensors is not installed: pip install safetensors") from None
    return safetensors.torch
