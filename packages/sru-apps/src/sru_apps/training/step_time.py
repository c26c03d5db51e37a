"""How long a training step takes."""

from __future__ import annotations

import statistics
import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback


class StepTime(Callback):
    """Time each training step (forward, backward, optimiser) by the wall clock; meant for the CPU."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._started = 0.0

    @property
    def median(self) -> float:
        """The median step, in seconds."""
        return statistics.median(self.seconds)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop the clock."""
        self.seconds.append(time.perf_counter() - self._started)
