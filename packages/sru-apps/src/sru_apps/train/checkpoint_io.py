"""Checkpoints that are either whole or not there.

Lightning's `TorchCheckpointIO` writes local files in place; this one keeps the promise that a full disk, a kill
or a power failure loses nothing: the former checkpoint stays until the new one is on the disk.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import textwrap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from sru_apps.train.errors import UserError
from sru_data.atomic import atomic_write

# What reading raises for files that are cut short, overwritten, or something else than a checkpoint.
_DAMAGE = (
    OSError,
    RuntimeError,
    pickle.UnpicklingError,
    BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


@contextlib.contextmanager
def reading(path: Path, *, kind: str = "a checkpoint") -> Iterator[None]:
    """Turn the errors that wrong content causes in the block into a `UserError` that names the file.

    Args:
        path: The file, or the folder of files.
        kind: What it should be.

    Raises:
        UserError: The content is wrong in any way.
    """
    try:
        yield
    except _DAMAGE as error:
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")
        raise UserError(f"{path} is damaged or is not {kind}: {reason}") from error


class AtomicCheckpointIO(CheckpointIO):
    """Write Lightning's checkpoints through `atomic_write`, and read them without running any code in them.

    Args:
        remedy: What to do when the disk is full.
    """

    def __init__(self, *, remedy: str = "Make room and start again") -> None:
        self.remedy = remedy

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            UserError: The file cannot be written; the checkpoint that was there before is untouched.
        """
        path = Path(path)
        # torch's own file writer turns the OSError of a full disk into a RuntimeError about positions.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            with atomic_write(path) as file:
                file.write(buffer.getbuffer())
        except OSError as error:
            raise UserError(
                f"cannot write the checkpoint {path}: {error.strerror or error}; the one before it is whole. "
                f"{self.remedy}"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint; see `read_checkpoint`."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint, if it is there."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint onto the CPU, with `weights_only=True`.

    Args:
        path: A `.ckpt` file.

    Returns:
        The checkpoint's dictionary.

    Raises:
        UserError: The file is missing, damaged or not a checkpoint.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    with reading(path):
        # torch does not check the checksums that it writes.
        with ZipFile(path) as archive:
            spoilt = archive.testzip()
        if spoilt is not None:
            raise UserError(f"{path} is damaged: the checksum of {spoilt} is wrong")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path} is not a training checkpoint: it holds no `state_dict`")
    return checkpoint
