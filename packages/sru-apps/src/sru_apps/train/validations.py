"""When the model is validated, and what follows from it: early stopping and the plateau schedule.

Lightning's `val_check_interval` skips the end of an epoch that is not a multiple of it; here an epoch always
ends with a validation. When a run is resumed, its `EarlyStopping` has no record of having stopped the run,
and it stops within an epoch in a state that cannot be continued; here the rows of `History` decide. Its
`Timer` has its own clock; here the time that ends training is the one in the tables.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from sru_apps.train.errors import UserError
from sru_apps.train.history import History
from sru_apps.train.optimizers import LearningRate


class Validations(Callback):
    """Validate within the epochs too; stop training that no longer improves or takes too long.

    Args:
        history: Records the validations; it must come before this callback.
        every: Batches between validations, or a fraction of an epoch; None for its end only.
        patience: Validations without a better figure until training stops; 0 to disable.
        max_seconds: Time over all sessions after which training stops at any point; None for no limit.
        mode: Whether the highest or the lowest figure is best.
    """

    def __init__(
        self,
        history: History,
        *,
        every: float | None = None,
        patience: int = 0,
        max_seconds: float | None = None,
        mode: Literal["max", "min"] = "max",
    ) -> None:
        self.history, self.every, self.patience, self.mode = history, every, patience, mode
        self.max_seconds = max_seconds
        self._interval: float = math.inf

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the number of batches between two validations."""
        self.history.max_seconds = self.max_seconds
        batches = int(trainer.num_training_batches)
        self._interval = math.inf
        if self.every is not None:
            self._interval = interval(self.every, batches, trainer.accumulate_grad_batches)
            self.history.validations_per_epoch = math.ceil(batches / self._interval)
        self._choose(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validate after the last batch of an epoch too, and stop after a step when the time is up."""
        self._choose(trainer)
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        # The clocks of several processes differ.
        if self.max_seconds is not None and whole and trainer.strategy.broadcast(self._is_late()):
            trainer.should_stop = True

    def _is_late(self) -> bool:
        return self.max_seconds is not None and self.history.seconds >= self.max_seconds

    def _choose(self, trainer: Trainer) -> None:
        # For Lightning, an infinite interval means the end of the epoch.
        trainer.val_check_batch = math.inf if trainer.is_last_batch else self._interval

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass the loss to the learning-rate schedule, and stop within an epoch if needed."""
        scheduler = pl_module.lr_schedulers()
        if isinstance(scheduler, LearningRate):
            scheduler.validated(float(trainer.callback_metrics["validation_loss"]))
        if not trainer.is_last_batch:
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at the end of an epoch if needed."""
        self._stop(trainer)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Do not continue if training had stopped."""
        self._stop(trainer, checkpoint["callbacks"]["History"]["rows"])

    def _stop(self, trainer: Trainer, rows: Sequence[Mapping[str, float]] | None = None) -> None:
        # All processes have the same rows.
        rows = self.history.rows if rows is None else rows
        late = bool(rows) and self.max_seconds is not None and rows[-1]["seconds"] >= self.max_seconds
        if late or (self.patience and since_best(rows, self.history.figures, self.mode) >= self.patience):
            trainer.should_stop = True


def since_best(
    rows: Sequence[Mapping[str, float]], figures: Sequence[str], mode: Literal["max", "min"]
) -> int:
    """Count the validations since the best one, the earliest of ties, as in `RunCheckpoints`.

    Args:
        rows: The rows of `History`.
        figures: The figures to compare; the first one in a row is used.
        mode: Whether the highest or the lowest is best.
    """
    better = operator.gt if mode == "max" else operator.lt
    best: float | None = None
    since = 0
    for row in rows:
        score, since = next(row[name] for name in figures if name in row), since + 1
        finite = math.isfinite(row.get("validation_loss", score)) and not math.isnan(score)
        if finite and (best is None or better(score, best)):
            best, since = score, 0
    return since


def ended_by(
    rows: Sequence[Mapping[str, float]],
    figures: Sequence[str],
    mode: Literal["max", "min"],
    *,
    max_epochs: int,
    max_steps: int = -1,
    max_seconds: float | None = None,
    patience: int = 0,
) -> Literal["max_epochs", "max_steps", "max_time", "patience"] | None:
    """Return the option that has ended training; None while it can continue.

    Args:
        rows: The rows of `History`.
        figures: The figures to compare; the first one in a row is used.
        mode: Whether the highest or the lowest is best.
        max_epochs: Passes over the training data.
        max_steps: Steps; -1 for no limit.
        max_seconds: Time; None for no limit.
        patience: Validations without a better figure; 0 for no limit.
    """
    if not rows:
        return None
    if rows[-1]["epoch"] >= max_epochs:
        return "max_epochs"
    if 0 < max_steps <= rows[-1]["step"]:
        return "max_steps"
    if max_seconds is not None and rows[-1]["seconds"] >= max_seconds:
        return "max_time"
    return "patience" if patience and since_best(rows, figures, mode) >= patience else None


def validation_follows(trainer: Trainer, batch_idx: int) -> bool:
    """Whether Lightning validates after this batch, which has been trained on."""
    every = trainer.val_check_batch
    due = every is not None and math.isfinite(every) and (batch_idx + 1) % every == 0
    return bool(due or trainer.is_last_batch or trainer.should_stop)


def interval(every: float, batches: int, accumulate: int) -> int:
    """Turn `--trainer.val_check_interval` into batches, so that validations come after whole steps.

    Args:
        every: Batches, or a fraction of an epoch.
        batches: Batches per epoch.
        accumulate: Batches per step.

    Raises:
        UserError: It is less than a batch, more than an epoch, or not a whole number of steps.
    """
    name = "--trainer.val_check_interval"
    whole = not isinstance(every, float)
    if not (1 <= every <= batches if whole else 0 < every <= 1):
        raise UserError(
            f"{name} must be a number of batches, from 1 to the {batches:,} of an epoch, or a fraction of an "
            f"epoch, such as 0.25, got {every}; leave it out to validate once an epoch"
        )
    if whole:
        if every % accumulate:
            raise UserError(
                f"{name} must be a multiple of --trainer.accumulate_grad_batches {accumulate}, got {every}"
            )
        return int(every)
    return max(accumulate, int(batches * every) // accumulate * accumulate)
