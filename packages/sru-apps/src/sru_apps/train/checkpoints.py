"""The two checkpoints of a run: the best one, and the last one, from which an interrupted run continues.

Lightning's `ModelCheckpoint` keeps neither of two promises: Ctrl-C saves the present step, and a run folder can
be moved, since no path is remembered.
"""

from __future__ import annotations

import operator
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from sru_apps.train.errors import UserError


class RunCheckpoints(Checkpoint):
    """Keep `best.ckpt` (by a monitored value, the earliest of equals) and `last.ckpt` in a folder.

    The last one is saved at the end of every epoch, every so many steps, and when the run is told to stop:
    the first Ctrl-C (SIGINT), like a SIGTERM, lets the present step finish and saves; a second Ctrl-C stops
    at once.

    Args:
        folder: Where the two files lie.
        monitor: The logged value to compare; of several, the first that is logged.
        mode: Whether the highest ("max") or the lowest ("min") value is best.
        every_steps: Steps between saves of `last.ckpt` within an epoch; 0 for none.
        task: The task that the checkpoints name as theirs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        monitor: str | Sequence[str],
        mode: Literal["max", "min"] = "max",
        every_steps: int = 0,
        task: str = "",
    ) -> None:
        self.best_path = folder / "best.ckpt"
        self.last_path = folder / "last.ckpt"
        self.monitor = [monitor] if isinstance(monitor, str) else list(monitor)
        self.mode = mode
        self.every_steps = every_steps
        self.task = task
        self.best_score: float | None = None
        self.best_epoch = 0
        self.interrupted = False
        self._former_handler: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over Ctrl-C, which Python delivers to the main thread only."""
        if threading.current_thread() is threading.main_thread():
            self._former_handler = signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop here when Ctrl-C came during validation: the epoch before is saved and logged."""
        if _any_rank(trainer, self.interrupted):
            self.interrupted = True
            raise KeyboardInterrupt

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within an epoch, except after its last step, which validation and a save follow anyway.

        Between two batches of one step there is nothing to save: gradients are not part of a checkpoint.
        """
        if 0 < trainer.max_steps <= trainer.global_step:
            # Lightning validates, and so lets us save, when it is asked to stop, not when it runs out of steps.
            trainer.should_stop = True
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        stopping = _any_rank(trainer, self.interrupted or trainer.received_sigterm)
        if stopping or (self.every_steps and trainer.global_step % self.every_steps == 0):
            trainer.save_checkpoint(self.last_path)
        if stopping and not trainer.received_sigterm:
            self.interrupted = True
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after validation."""
        logged = trainer.callback_metrics
        score = float(next(logged[name] for name in self.monitor if name in logged))
        better = operator.gt if self.mode == "max" else operator.lt
        if self.best_score is None or better(score, self.best_score):
            self.best_score, self.best_epoch = score, trainer.current_epoch
            trainer.save_checkpoint(self.best_path)
        trainer.save_checkpoint(self.last_path)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Name the task, so that another one can refuse the checkpoint."""
        checkpoint["task"] = self.task
        checkpoint["processes"] = trainer.world_size

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to continue with more processes, or fewer.

        Raises:
            UserError: Their number differs.
        """
        processes = checkpoint.get("processes", 1)
        if processes != trainer.world_size:
            raise UserError(
                f"the run was trained by {processes} processes and cannot continue with {trainer.world_size}, "
                f"which would read other batches; continue with --trainer.devices {processes}"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give Ctrl-C back."""
        self._restore_handler()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give Ctrl-C back."""
        self._restore_handler()

    def _restore_handler(self) -> None:
        if self._former_handler is not None:
            signal.signal(signal.SIGINT, self._former_handler)
            self._former_handler = None

    def state_dict(self) -> dict[str, Any]:
        """The score to beat."""
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the score to beat."""
        self.best_score = state_dict["best_score"]
        self.best_epoch = state_dict["best_epoch"]


def _any_rank(trainer: Trainer, value: bool) -> bool:
    """Whether it is true for any process: all must save together, and stop together."""
    if trainer.world_size == 1:
        return value
    return bool(trainer.strategy.reduce_boolean_decision(value, all=False))
