"""One row of figures per validation, kept across interruptions.

Lightning's loggers and `ThroughputMonitor` lose the sums of an interrupted epoch; here a resumed run reports
the training loss of an uninterrupted one. Its `CSVLogger` deletes the rows of a run to be continued before it
is known whether the checkpoint fits; here the table is rebuilt from the checkpoint and replaced as a whole.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from sru_apps.train.csv_rows import write_csv
from sru_apps.train.errors import MisfitError
from sru_apps.train.meters import Clock, Meter, TimeLeft, rounded
from sru_apps.train.pictures import draw_curves


class History(Callback):
    """Record each validation, report it to the loggers and the console, and draw the learning curve.

    The training loss of a row is the mean since the previous row. The curve is redrawn every 15 seconds at
    most, because drawing takes a fraction of a second. It is up to date when training ends, for any reason.

    Args:
        picture: The PNG to draw.
        table: The CSV file of the rows; none by default.
        title: The title of the picture.
        figures: Validation figures, such as `accuracy`, to record if they are logged; the first of them is
            also reported and drawn.
        count: Counts the units in a batch, for the speed of training without validation.
        unit: The name of the unit, such as `tokens`; rows then have `tokens_per_second`.
    """

    def __init__(
        self,
        picture: Path,
        *,
        table: Path | None = None,
        title: str = "",
        figures: Sequence[str],
        count: Callable[[Any], int] | None = None,
        unit: str = "items",
    ) -> None:
        self.picture, self.table, self.title = picture, table, title
        self.figures = [f"validation_{name}" for name in figures]
        self.count, self.speed = count, f"{unit}_per_second"
        self.rows: list[dict[str, float]] = []
        self.validations_per_epoch = 1
        self.max_seconds: float | None = None
        self._whole, self._meter, self._left = Clock(), Meter(), TimeLeft()
        self._drawn_rows = 0
        self._next_picture = 0.0

    @property
    def seconds(self) -> float:
        """Time spent training, including validation, over all sessions."""
        return self._whole.seconds

    @property
    def is_finite(self) -> bool:
        """Whether every loss since the second to last row is finite."""
        losses = [float(self._meter.loss), *(row["train_loss"] for row in self.rows[-1:])]
        return all(map(math.isfinite, losses))

    @property
    def running_loss(self) -> float:
        """The mean loss of this process since the last row; waits for a GPU."""
        return float(self._meter.loss) / max(1, self._meter.batches)

    def seconds_left(self, trainer: Trainer) -> float | None:
        """The time left in training; None while it is unknown."""
        left = self._left.seconds(trainer, self.validations_per_epoch)
        if left is None or self.max_seconds is None:
            return left
        return max(0.0, min(left, self.max_seconds - self.seconds))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks."""
        self._whole.start()
        self._meter.clock.start()
        self._left.start(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exclude the end of the previous epoch from the speed."""
        self._meter.clock.start()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exclude validation from the speed."""
        self._meter.clock.stop()
        self._left.validation_starts()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of a batch."""
        self._meter.add(trainer, outputs, 0 if self.count is None else self.count(batch))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish a row within an epoch."""
        self._left.validation_ends()
        if not trainer.is_last_batch:
            self._finish_row(trainer)
            self._meter.clock.start()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish a row, unless training ends within the epoch, after its last validation."""
        if trainer.is_last_batch:
            self._finish_row(trainer)

    def _finish_row(self, trainer: Trainer) -> None:
        logged = trainer.callback_metrics
        row: dict[str, float] = {
            "epoch": epochs_done(trainer),
            "step": trainer.global_step,
            "train_loss": self._meter.mean(trainer),
            "validation_loss": float(logged["validation_loss"]),
            **{name: float(logged[name]) for name in self.figures if name in logged},
            "seconds": round(self.seconds, 2),
        }
        if self.count is not None:
            row[self.speed] = self._meter.rate
        self.rows.append(row)
        self._meter = Meter()
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.log_metrics({key: row[key] for key in row if key != "step"}, step=trainer.global_step)
            logger.save()
        if self.table is not None:
            write_csv(self.table, self.rows)
        if time.monotonic() >= self._next_picture:
            self._draw()
        report = print if trainer.progress_bar_callback is None else trainer.progress_bar_callback.print
        report(self._line(row, trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock, and draw what is not drawn yet."""
        self._whole.stop()
        if self._drawn_rows < len(self.rows) and trainer.is_global_zero:
            self._draw()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw what is not drawn yet; if that fails too, the first exception should be reported."""
        with contextlib.suppress(OSError):
            self.on_train_end(trainer, pl_module)

    def _draw(self) -> None:
        figure = self._figure(self.rows[-1])
        epochs, *columns = (
            [row.get(key, math.nan) for row in self.rows]
            for key in ("epoch", "train_loss", "validation_loss", figure)
        )
        train, validation, figures = ((epochs, column) for column in columns)
        name = figure.replace("_", " ")
        panels = {"loss": {"training": train, "validation": validation}, name: {name: figures}}
        draw_curves(self.picture, "epoch", panels, title=self.title)
        self._next_picture, self._drawn_rows = time.monotonic() + 15, len(self.rows)

    def _figure(self, row: Mapping[str, float]) -> str:
        return next(name for name in self.figures if name in row)

    def _line(self, row: Mapping[str, float], trainer: Trainer) -> str:
        figure, epoch = self._figure(row), row["epoch"]
        speed = f"  {row[self.speed]:,.0f} {self.speed.replace('_', ' ')}" if self.count is not None else ""
        left = self.seconds_left(trainer)
        return (
            f"epoch {epoch if isinstance(epoch, int) else f'{epoch:.2f}':>2}/{trainer.max_epochs}  "
            f"train loss {row['train_loss']:.4f}  {figure.replace('_', ' ')} {row[figure]:.4f}  "
            f"{row['seconds']:.1f} s{f', about {rounded(left)} left' if left else ''}{speed}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the sums since the last one, as plain numbers."""
        return {
            "rows": [dict(row) for row in self.rows],
            "sums": self._meter.sums(),
            "seconds": [self.seconds, self._meter.clock.seconds],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint.

        Raises:
            MisfitError: A row does not consist of the expected figures.
        """
        needed = {"epoch", "step", "train_loss", "seconds"} | ({self.speed} if self.count else set())
        for row in state_dict["rows"]:
            known = needed <= row.keys() and not row.keys().isdisjoint(self.figures)
            if not known or not all(isinstance(value, (int, float)) for value in row.values()):
                raise MisfitError(f"its callbacks['History']['rows'] has a row of other figures: {row}")
        self.rows = [dict(row) for row in state_dict["rows"]]
        # Not drawn before the next row, because the checkpoint may still turn out not to fit.
        self._drawn_rows = len(self.rows)
        whole, training = state_dict["seconds"]
        self._whole = Clock(whole)
        self._meter.load(state_dict["sums"], training)


def epochs_done(trainer: Trainer) -> float:
    """Return the number of epochs trained: whole at the end of an epoch, otherwise with a fraction."""
    if trainer.is_last_batch:
        return trainer.current_epoch + 1
    return round(trainer.current_epoch + (trainer.fit_loop.batch_idx + 1) / trainer.num_training_batches, 4)
