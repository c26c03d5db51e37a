"""The line at the end of a run, and the same for machines."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from sru_apps.training.errors import UserError
from sru_data.atomic import atomic_write


@dataclass(frozen=True)
class Summary:
    """What a classification run came to."""

    dataset: str
    """Name of the data set."""
    encoder: str
    """Name of the encoder."""
    seed: int
    """The run's seed."""
    test_accuracy: float
    """Of the best checkpoint, 0 to 1."""
    validation_accuracy: float
    """Of the best checkpoint, 0 to 1."""
    best_epoch: int
    """The epoch of the best checkpoint, from 1."""
    epochs: int
    """Epochs trained."""
    seconds: float
    """Time of training and validation, over all sessions."""
    parameters: int
    """Trainable parameters."""
    parameters_without_embedding: int
    """Those of them that are not word vectors."""
    run: str
    """The run folder."""

    def line(self) -> str:
        """The summary in one line."""
        return (
            f"{self.dataset} {self.encoder}: test accuracy {100 * self.test_accuracy:.2f} %, "
            f"validation accuracy {100 * self.validation_accuracy:.2f} % "
            f"(epoch {self.best_epoch} of {self.epochs}), {self.seconds:.1f} s, "
            f"{self.parameters:,} parameters, {self.parameters_without_embedding:,} without word vectors, "
            f"{self.run}"
        )

    @classmethod
    def read(cls, path: Path) -> Summary:
        """Read what `save` wrote.

        Raises:
            UserError: When the file is missing, damaged or not a summary.
        """
        if not path.is_file():
            raise UserError(f"no summary at {path}; give run folders whose training has ended")
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged or is not a summary: {error}") from error

    def save(self, path: Path) -> None:
        """Write the summary as JSON."""
        with atomic_write(path) as file:
            file.write((json.dumps(asdict(self), indent=2) + "\n").encode())


def count_parameters(module: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
