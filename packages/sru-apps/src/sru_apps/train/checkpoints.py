"""Checkpoints and per-step seeding, with which a resumed run equals an uninterrupted one.

Lightning's `TorchCheckpointIO` writes local files in place. With `AtomicCheckpointIO` a full disk, a kill or
a power failure loses nothing: the previous checkpoint stays until the new one is on the disk. Lightning's
`ModelCheckpoint` lacks two guarantees of `RunCheckpoints`: Ctrl-C saves the current step, and a run folder
can be moved, because no path is stored. Saving a generator's state in checkpoints could not replace
`SeedEveryStep`, because validation or a logger may draw numbers in between.
"""

from __future__ import annotations

import io
import math
import operator
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import CheckpointIO

from sru_apps.seeds import place_seed
from sru_apps.train.errors import UserError, clip
from sru_apps.train.validations import validation_follows
from sru_apps.train.weights import read_checkpoint
from sru_data.atomic import atomic_write

SECONDS_BETWEEN_SAVES = 60.0
"""After this much time within an epoch, `last.ckpt` is saved again."""


class AtomicCheckpointIO(CheckpointIO):
    """Write Lightning's checkpoints with `atomic_write`, and read them without running any code in them.

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
            UserError: The file cannot be written; the previous checkpoint is untouched.
        """
        # torch's own file writer turns the OSError for a full disk into a RuntimeError about positions.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            with atomic_write(Path(path)) as file:
                file.write(buffer.getbuffer())
        except OSError as error:
            raise UserError(
                f"cannot write the checkpoint {path}: {error.strerror or error}; the previous one is intact. "
                f"{self.remedy}"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint; see `read_checkpoint`."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint, if it exists."""
        Path(path).unlink(missing_ok=True)


class RunCheckpoints(Checkpoint):
    """Keep `best.ckpt` (by a monitored value; the earliest of ties) and `last.ckpt` in a folder.

    `last.ckpt` is saved after every validation, in between every minute and every `every_steps` steps, and
    when the run is stopped: the first Ctrl-C (SIGINT), like a SIGTERM or a closed terminal (SIGHUP), lets the
    current step finish and saves; a second Ctrl-C stops at once. A figure that is not finite is never best.

    Args:
        folder: The folder of the two files.
        monitor: The logged value to compare; if there are several, the first that is logged.
        mode: Whether the highest ("max") or the lowest ("min") value is best.
        every_steps: Steps between saves of `last.ckpt` within an epoch; 0 for none.
        before_training: Save `last.ckpt` before the first step too.
        task: The task that is recorded in the checkpoints.
        is_finite: Returns whether the loss has been finite so far; at the end of an epoch all processes
            agree. If it has not, training ends with an error and is not saved.
    """

    def __init__(
        self,
        folder: Path,
        *,
        monitor: str | Sequence[str],
        mode: Literal["max", "min"] = "max",
        every_steps: int = 0,
        before_training: bool = False,
        task: str = "",
        is_finite: Callable[[], bool] = lambda: True,
    ) -> None:
        self.best_path, self.last_path = folder / "best.ckpt", folder / "last.ckpt"
        self.monitor = [monitor] if isinstance(monitor, str) else list(monitor)
        self.mode, self.every_steps, self.task, self.is_finite = mode, every_steps, task, is_finite
        self.before_training = before_training
        self.best_score: float | None = None
        self.best_epoch = 0
        self.interrupted = False
        self._former_handlers: dict[int, Any] = {}
        self._next_save = math.inf

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the signal handlers; Python delivers signals to the main thread only."""
        if self.before_training and trainer.global_step == 0:
            trainer.save_checkpoint(self.last_path)
        self._next_save = time.monotonic() + SECONDS_BETWEEN_SAVES
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGHUP):
                # Under nohup a closed terminal must be ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._former_handlers[number] = signal.signal(number, self._interrupt)

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self.interrupted and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.interrupted = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if Ctrl-C came during validation; the previous epoch has been saved and logged."""
        if _any_rank(trainer, self.interrupted):
            self.interrupted = True
            raise KeyboardInterrupt

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within an epoch, unless validation and a save follow anyway.

        Between two batches of one step there is nothing to save: gradients are not part of a checkpoint.
        """
        if 0 < trainer.max_steps <= trainer.global_step:
            # Lightning validates, and lets us save, when asked to stop, but not when it runs out of steps or
            # continues from here.
            trainer.should_stop = True
            return
        if validation_follows(trainer, batch_idx) or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        stopped = self.interrupted or trainer.received_sigterm
        due = bool(self.every_steps) and trainer.global_step % self.every_steps == 0
        if not _any_rank(trainer, stopped or due or time.monotonic() >= self._next_save):
            return
        stopping = _any_rank(trainer, stopped)
        if not stopping and _any_rank(trainer, not self.is_finite()):
            raise _diverged(trainer)
        self._save_last(trainer)
        if stopping and not trainer.received_sigterm:
            self.interrupted = True
            raise KeyboardInterrupt

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after a validation within an epoch, and stop when Ctrl-C came before its end."""
        if trainer.is_last_batch:
            return
        self._save_validated(trainer)
        if _any_rank(trainer, self.interrupted):
            self.interrupted = True
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after an epoch; one that ends before its last batch has been saved after its validation."""
        if trainer.is_last_batch:
            self._save_validated(trainer)

    def _save_validated(self, trainer: Trainer) -> None:
        logged = trainer.callback_metrics
        score = float(next(logged[name] for name in self.monitor if name in logged))
        better = operator.gt if self.mode == "max" else operator.lt
        # A model of NaNs may still have an accuracy, and a poor model a loss without a finite exponential.
        finite = math.isfinite(logged.get("validation_loss", score)) and not math.isnan(score)
        if finite and (self.best_score is None or better(score, self.best_score)):
            self.best_score, self.best_epoch = score, trainer.current_epoch
            trainer.save_checkpoint(self.best_path)
        if not self.is_finite():
            raise _diverged(trainer)
        self._save_last(trainer)

    def _save_last(self, trainer: Trainer) -> None:
        started = time.monotonic()
        trainer.save_checkpoint(self.last_path)
        # Large models take long to save and are saved less often.
        now = time.monotonic()
        self._next_save = now + max(SECONDS_BETWEEN_SAVES, 50 * (now - started))

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Record the task, so that other tasks can refuse the checkpoint."""
        checkpoint.update(task=self.task, processes=trainer.world_size)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to continue with another number of processes.

        Raises:
            UserError: The number differs.
        """
        processes = checkpoint.get("processes", 1)
        if processes != trainer.world_size:
            processes = clip(str(processes), 40)
            raise UserError(
                f"the run was trained by {processes} processes and cannot continue with "
                f"{trainer.world_size}, which would read different batches; continue with "
                f"--trainer.devices {processes}"
            )

    def on_train_end(self, *_: Any) -> None:
        """Restore the signal handlers."""
        while self._former_handlers:
            signal.signal(*self._former_handlers.popitem())

    on_exception = on_train_end  # type: ignore[assignment]

    def state_dict(self) -> dict[str, Any]:
        """Return the score to beat."""
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the score to beat."""
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]
        if self.best_score is not None and math.isnan(self.best_score):
            self.best_score = None


def _any_rank(trainer: Trainer, value: bool) -> bool:
    """Whether a value is true on any process; all processes must save and stop together."""
    return bool(trainer.strategy.reduce_boolean_decision(value, all=False))


def _diverged(trainer: Trainer) -> BaseException:
    """Return the exception that ends training; only the one of the first process explains why."""
    if not trainer.is_global_zero:
        return SystemExit(1)
    return UserError(
        f"the training has diverged: by step {trainer.global_step} its loss is not finite. Try a lower "
        "--optimizer.lr or --trainer.gradient_clip_val 1, or continue training with --allow-divergence"
    )


class SeedEveryStep(Callback):
    """Seed torch's generators from (seed, epoch, batch) before every training step, differently on each rank.

    Dropout then depends only on the step, not on what ran before, so a run continued from a checkpoint draws
    the same numbers as an uninterrupted one.

    Args:
        seed: The run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the generators for this step."""
        place = (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        seed = place_seed(*(place if trainer.global_rank else place[:-1]))
        if pl_module.device.type == "cpu":
            # torch.manual_seed also queues a call, with a traceback, for each unused type of device: that
            # takes a millisecond, and the queues grow with every step.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
