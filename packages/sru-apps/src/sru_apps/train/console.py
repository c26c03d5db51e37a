"""The console: a quiet Lightning, and one bar per epoch."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar

_NOISE = (
    # The CSV file is rewritten from the checkpoint when a run continues, and the folder of a new run is ours.
    r"Experiment logs directory .* exists and is not empty",
    # Lightning's own use of torch, which only its authors can change.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    # Nothing is changed in place after the network has returned it.
    r"FSDP2-wrapped module .* returned a view tensor",
)


def quiet_lightning() -> None:
    """Silence Lightning's announcements and tips, and those of its warnings that need no action here."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)


def wants_progress_bar() -> bool:
    """Whether to draw a bar: on a terminal; a log file gets one line per epoch."""
    return sys.stdout.isatty()


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


def flush_denormals() -> None:
    """Let this process treat denormal numbers as zero, where its processor can.

    Adam's moments of a word vector that hardly ever has a gradient decay until they are denormal (below
    1.2e-38 in float32), and stay so: 0.9 times the smallest of them rounds to itself. A CPU takes a hundred
    times as long for such a number. In a vocabulary most words are rare, and every step visits them all, so
    each epoch would be slower than the one before.

    The setting belongs to a thread, and a new thread inherits it: call this before torch starts its own, at
    the very beginning of a command. It stays for the rest of the process.
    """
    torch.set_flush_denormal(True)
