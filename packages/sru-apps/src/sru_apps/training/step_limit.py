"""The end of a training that is given in steps."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class ValidateAtLimit(Callback):
    """Validate, and so record and save, when `max_steps` ends the training within an epoch.

    Lightning validates at the end of an epoch and when it was asked to stop, not when it runs out of steps.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask to stop after the last step."""
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True
