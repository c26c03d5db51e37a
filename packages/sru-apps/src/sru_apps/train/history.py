"""One row of figures per epoch, kept across interruptions.

Lightning's loggers and `ThroughputMonitor` forget what an interrupted epoch has summed up; here a resumed run
reports the training loss of an undisturbed one, and its CSV file has no row twice.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import CSVLogger

from sru_apps.train.learning_curve import draw_learning_curve


class History(Callback):
    """Record each epoch, tell the loggers and the console, and draw the learning curve.

    Where an epoch takes less than a minute or so the curve is not redrawn after each: drawing stays under two
    per cent of the time. It is up to date when training ends, in whatever way.

    Args:
        picture: The PNG to draw.
        figures: Validation figures, such as `accuracy`, to record as far as they are logged; the first of
            those is also reported and drawn.
        count: Counts what a batch holds, for the speed of training without validation.
        unit: What it counts, such as `tokens`: the row gets `tokens_per_second`.
    """

    def __init__(
        self,
        picture: Path,
        *,
        figures: Sequence[str],
        count: Callable[[Any], int] | None = None,
        unit: str = "items",
    ) -> None:
        self.picture = picture
        self.figures = [f"validation_{name}" for name in figures]
        self.count = count
        self.speed = f"{unit}_per_second"
        self._counted = 0
        self._training_seconds = 0.0
        self._training_since: float | None = None
        self.rows: list[dict[str, float]] = []
        self._loss_sum: torch.Tensor | float = 0.0
        self._steps = 0
        self._seconds_before = 0.0
        self._started: float | None = None
        self._next_picture = 0.0
        self._drawn_rows = 0

    @property
    def seconds(self) -> float:
        """Time spent training, validation included, over all sessions."""
        return self._seconds_before + (0.0 if self._started is None else time.monotonic() - self._started)

    @property
    def metric(self) -> str:
        """The first figure that is logged."""
        return next(name for name in self.figures if name in self.rows[-1])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and rewrite the CSV file, which a killed session may have left ahead of its checkpoint."""
        self._started = self._training_since = time.monotonic()
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger) and self.rows:
                for row in self.rows:
                    logger.log_metrics(_figures(row), step=int(row["step"]))
                logger.save()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the end of the previous epoch out of the speed."""
        self._training_since = time.monotonic()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave validation out of the speed."""
        self._training_seconds, self._training_since = self._training_time(), None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the time again."""
        self._training_since = time.monotonic()

    def _training_time(self) -> float:
        running = 0.0 if self._training_since is None else time.monotonic() - self._training_since
        return self._training_seconds + running

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of a step, in float64 and without waiting for the device."""
        loss = outputs.get("mean_loss")
        if loss is None:
            loss = outputs["loss"].detach() * trainer.accumulate_grad_batches
        self._loss_sum = self._loss_sum + loss.double()
        self._steps += 1
        if self.count is not None:
            self._counted += self.count(batch) * trainer.world_size

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish a row."""
        metrics = trainer.callback_metrics
        loss_sum = float(self._loss_sum)
        if trainer.world_size > 1:
            device = trainer.strategy.root_device
            loss_sum = float(trainer.strategy.reduce(torch.tensor(loss_sum, device=device), reduce_op="mean"))
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "train_loss": loss_sum / self._steps if self._steps else math.nan,
            "validation_loss": float(metrics["validation_loss"]),
            **{name: float(metrics[name]) for name in self.figures if name in metrics},
            "seconds": round(self.seconds, 2),
        }
        if self.count is not None:
            row[self.speed] = round(self._counted / max(self._training_time(), 1e-9), 1)
        self.rows.append(row)
        self._loss_sum, self._steps, self._counted, self._training_seconds = 0.0, 0, 0, 0.0
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.log_metrics(_figures(row), step=trainer.global_step)
            logger.save()
        if time.monotonic() >= self._next_picture:
            self._draw()
        self._report(trainer, row)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock, and draw what is not drawn yet."""
        self._seconds_before, self._started = self.seconds, None
        if self._drawn_rows < len(self.rows) and trainer.is_global_zero:
            self._draw()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw what is not drawn yet; if that fails too, the user should hear of the first exception."""
        with contextlib.suppress(OSError):
            self.on_train_end(trainer, pl_module)

    def _draw(self) -> None:
        before = time.monotonic()
        draw_learning_curve(self.rows, self.picture, metric=self.metric)
        after = time.monotonic()
        self._next_picture = after + 50 * (after - before)
        self._drawn_rows = len(self.rows)

    def _report(self, trainer: Trainer, row: dict[str, float]) -> None:
        line = (
            f"epoch {row['epoch']:>2}/{trainer.max_epochs}  train loss {row['train_loss']:.4f}  "
            f"{self.metric.replace('_', ' ')} {row[self.metric]:.4f}  {row['seconds']:.1f} s"
        )
        if self.count is not None:
            line += f"  {row[self.speed]:,.0f} {self.speed.replace('_', ' ')}"
        bar = trainer.progress_bar_callback
        if bar is None:
            print(line, flush=True)
        else:
            bar.print(line)

    def state_dict(self) -> dict[str, Any]:
        """The rows and the sums of the unfinished epoch, as plain numbers."""
        return {
            "rows": [dict(row) for row in self.rows],
            "loss_sum": float(self._loss_sum),
            "steps": self._steps,
            "seconds": self.seconds,
            "counted": self._counted,
            "training_seconds": self._training_time() if self._counted else 0.0,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.rows = [dict(row) for row in state_dict["rows"]]
        self._loss_sum = state_dict["loss_sum"]
        self._steps = state_dict["steps"]
        self._seconds_before = state_dict["seconds"]
        self._counted = state_dict["counted"]
        self._training_seconds = state_dict["training_seconds"]


def _figures(row: dict[str, float]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "step"}
