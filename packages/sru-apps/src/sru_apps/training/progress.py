"""The progress bar."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar


class EpochBar(TQDMProgressBar):
    """One line for the epoch, counted from 1, that makes room for the line that `History` prints."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=5, leave=False)

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Name the epoch as users count."""
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Show the figures of the last epoch, without the logger's version."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return dict(metrics)
