"""Checkpoint files: read without running code from them, written atomically."""

from __future__ import annotations

import itertools
import os
import re
import warnings
from collections.abc import Collection, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor

from sru_nn.checkpoints.archive import check_archive
from sru_nn.checkpoints.convert import ConversionError, find_cells
from sru_nn.checkpoints.layouts import is_dense, shortened

_LONGEST_NAME = 1000
# Tied weights are saved once; a file whose tensors take more than this many times its size is malicious.
_MOST_SHARED = 16
_BYTES = re.compile(rb"c(?:builtins|__builtin__)\nbytearray\n")


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
    size = path.stat().st_size
    if not path.is_file():
        raise ConversionError("it is not a file")
    content = _load(path)
    notes = []
    if not isinstance(content, Mapping):
        raise ConversionError(f"it holds a {type(content).__name__}, not a state dict")
    # Each view of a storage may be as large as the storage, or larger.
    groups = (content, *(value for value in content.values() if isinstance(value, Mapping)))
    every = (x for group in groups for x in group.values() if isinstance(x, Tensor))
    taken = sum(x.numel() * x.element_size() for x in every)
    if taken > _MOST_SHARED * size:
        raise ConversionError(f"its tensors take {taken} bytes, far more than the file, which has {size}")
    if entry is None and not any(isinstance(value, Tensor) for value in content.values()):
        entry = _find_entry(content)
    if entry is not None:
        content = content.get(entry)
        if not isinstance(content, Mapping):
            raise ConversionError(f"its entry {shortened(entry)!r} is not a state dict")
        notes.append(f"The state dict is the entry {entry!r}.")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if left := [name for name in content if str(name) not in tensors]:
        notes.append(f"Left out, because they are not tensors: {_listed(left, quote='')}.")
    for name, tensor in tensors.items():
        if shortened(name, _LONGEST_NAME) != name:
            raise ConversionError(
                f"its entry {shortened(name)!r} has no name of up to {_LONGEST_NAME} letters"
            )
        if not is_dense(tensor) or tensor.is_meta:
            raise ConversionError(f"its entry {name!r} is not a dense tensor with values; save it as one")
    return tensors, notes


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors().load_file(path))
        if is_zipfile(path):
            check_archive(path, checksums=False)
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            if _BYTES.search(content):  # torch.load would allocate as many bytes as the file asks for
                raise ConversionError("it holds a bytearray, which is not part of a state dict")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tensor types that are refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except (ConversionError, OSError):
        raise
    except Exception as error:  # torch.load may raise anything on damaged content
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted is None:
            text = str(error).rpartition("WeightsUnpickler error: ")[2].strip()
            first = text.splitlines() or [type(error).__name__]
            reader = "safetensors" if path.suffix == ".safetensors" else "torch.load"
            raise ConversionError(f"{reader} cannot read it as tensors: {shortened(first[0], 200)}") from None
        raise ConversionError(
            f"it holds more than tensors (it asks for {shortened(wanted[1])}), as a whole module does, and "
            "reading that would run code from the file. If you trust it, save only its state dict, where the "
            f"old package is installed: module = torch.load({str(path)!r}, weights_only=False); "
            "torch.save(module.state_dict(), 'state_dict.pt')"
        ) from None


def _find_entry(content: Mapping[Any, Any]) -> str:
    """Find the entry of a checkpoint that holds an SRU; there must be exactly one."""
    entries = [name for name, value in content.items() if isinstance(value, Mapping) and find_cells(value)]
    if len(entries) == 1:
        return entries[0]  # type: ignore[no-any-return]
    raise ConversionError(f"name the entry that is the state dict with --entry; there are {_listed(content)}")


def _listed(names: Collection[Any], quote: str = "'") -> str:
    """Return the first of some names, in printable form."""
    shown = [f"{quote}{shortened(name)}{quote}" for name in itertools.islice(names, 8)]
    return ", ".join([*shown, f"and {len(names) - 8} more"] if len(names) > 8 else shown) or "none"


def write_file(path: Path, state_dict: Mapping[str, Tensor]) -> None:
    """Write a safetensors file.

    Args:
        path: The file.
        state_dict: Its tensors; those that share memory are written separately.

    Raises:
        ConversionError: The package safetensors is not installed.
    """
    # Copies, because the format does not support shared memory.
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
