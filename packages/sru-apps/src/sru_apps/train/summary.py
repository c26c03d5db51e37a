"""The line at the end of a run, and the same for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sru_apps.train.errors import UserError
from sru_data.atomic import atomic_write


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The outcome of a run."""

    dataset: str
    """Name of the data."""
    encoder: str
    """Name of the encoder."""
    seed: int
    """The run's seed."""
    test: Mapping[str, float] | None
    """Figures of the best checkpoint on the test set, if there is one."""
    validation: Mapping[str, float]
    """Figures of the best checkpoint on the validation set."""
    best_epoch: int
    """The epoch of the best checkpoint, from 1."""
    epochs: int
    """Epochs trained, the last one perhaps in part."""
    steps: int
    """Steps of the optimizer."""
    seconds: float
    """Time of training and validation, over all sessions."""
    parameters: int
    """Trainable parameters."""
    run: str
    """The run folder."""

    def save(self, path: Path, further: Mapping[str, Any]) -> None:
        """Write the summary as JSON, with further entries of the task."""
        with atomic_write(path) as file:
            file.write((json.dumps({**asdict(self), **further}, indent=2) + "\n").encode())


def read_summary(path: Path, *entries: str) -> list[Any]:
    """Read some entries of what `Summary.save` wrote.

    Args:
        path: The file.
        entries: Their names.

    Raises:
        UserError: The file is missing, damaged or not a summary.
    """
    if not path.is_file():
        raise UserError(f"no summary at {path}; give run folders whose training has ended")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [content[name] for name in entries]
    except (ValueError, TypeError, LookupError) as error:
        raise UserError(f"{path} is damaged or is not a summary: {type(error).__name__}: {error}") from error
