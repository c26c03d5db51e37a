"""One row of figures per epoch, kept across interruptions.

Lightning's loggers and `ThroughputMonitor` forget what an interrupted epoch has summed up; here a resumed
run reports the training loss of an undisturbed one. Its `CSVLogger` deletes the rows of a run to be continued
before it is known whether the checkpoint fits; here the table follows from the checkpoint and is replaced
whole.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from sru_apps.train.errors import MisfitError
from sru_data.atomic import atomic_write


class History(Callback):
    """Record each epoch, tell the loggers and the console, and draw the learning curve.

    The curve is redrawn every 15 seconds at most, since drawing takes a fraction of one. It is up to date
    when training ends, however that happens.

    Args:
        picture: The PNG to draw.
        table: The CSV file of the rows; none by default.
        figures: Validation figures, such as `accuracy`, to record as far as they are logged; the first of
            those is also reported and drawn.
        count: Counts what a batch holds, for the speed of training without validation.
        unit: What it counts, such as `tokens`: the row gets `tokens_per_second`.
    """

    def __init__(
        self,
        picture: Path,
        *,
        table: Path | None = None,
        figures: Sequence[str],
        count: Callable[[Any], int] | None = None,
        unit: str = "items",
    ) -> None:
        self.picture, self.table = picture, table
        self.figures = [f"validation_{name}" for name in figures]
        self.count, self.speed = count, f"{unit}_per_second"
        self.rows: list[dict[str, float]] = []
        self._whole, self._training = _Clock(), _Clock()
        self._loss: torch.Tensor | float = 0.0
        self._steps = self._counted = self._drawn_rows = 0
        self._next_picture = 0.0

    @property
    def seconds(self) -> float:
        """Time spent training, validation included, over all sessions."""
        return self._whole.seconds

    @property
    def is_finite(self) -> bool:
        """Whether every loss of the last epoch, and of the present one so far, is finite."""
        losses = [float(self._loss), *(row["train_loss"] for row in self.rows[-1:])]
        return all(map(math.isfinite, losses))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._whole.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the end of the previous epoch out of the speed."""
        self._training.start()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave validation out of the speed."""
        self._training.stop()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of a step, in float64 and without waiting for the device."""
        loss = outputs.get("mean_loss")
        if loss is None:
            loss = outputs["loss"].detach() * trainer.accumulate_grad_batches
        self._loss = self._loss + loss.double()
        self._steps += 1
        if self.count is not None:
            self._counted += self.count(batch) * trainer.world_size

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish a row."""
        logged, loss = trainer.callback_metrics, float(self._loss)
        if trainer.world_size > 1:
            device = trainer.strategy.root_device
            loss = float(trainer.strategy.reduce(torch.tensor(loss, device=device), reduce_op="mean"))
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "train_loss": loss / self._steps if self._steps else math.nan,
            "validation_loss": float(logged["validation_loss"]),
            **{name: float(logged[name]) for name in self.figures if name in logged},
            "seconds": round(self.seconds, 2),
        }
        if self.count is not None:
            row[self.speed] = round(self._counted / max(self._training.seconds, 1e-9), 1)
        self.rows.append(row)
        self._loss, self._steps, self._counted, self._training = 0.0, 0, 0, _Clock()
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
        report(self._line(row, trainer.max_epochs))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock, and draw what is not drawn yet."""
        self._whole.stop()
        if self._drawn_rows < len(self.rows) and trainer.is_global_zero:
            self._draw()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw what is not drawn yet; if that fails too, the user should hear of the first exception."""
        with contextlib.suppress(OSError):
            self.on_train_end(trainer, pl_module)

    def _draw(self) -> None:
        figure = self._figure(self.rows[-1])
        epochs, losses, figures = ([row[key] for row in self.rows] for key in ("epoch", "train_loss", figure))
        loss, right = "train loss", {figure.replace("_", " "): (epochs, figures)}
        draw_curves(self.picture, "epoch", loss, {loss: (epochs, losses)}, right)
        self._next_picture, self._drawn_rows = time.monotonic() + 15, len(self.rows)

    def _figure(self, row: Mapping[str, float]) -> str:
        return next(name for name in self.figures if name in row)

    def _line(self, row: Mapping[str, float], epochs: int | None) -> str:
        figure = self._figure(row)
        speed = f"  {row[self.speed]:,.0f} {self.speed.replace('_', ' ')}" if self.count is not None else ""
        return (
            f"epoch {row['epoch']:>2}/{epochs}  train loss {row['train_loss']:.4f}  "
            f"{figure.replace('_', ' ')} {row[figure]:.4f}  {row['seconds']:.1f} s{speed}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the sums of the unfinished epoch, as plain numbers."""
        return {
            "rows": [dict(row) for row in self.rows],
            "sums": [float(self._loss), self._steps, self._counted],
            "seconds": [self.seconds, self._training.seconds],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint.

        Raises:
            MisfitError: A row is not one of figures.
        """
        needed = {"epoch", "step", "train_loss", "seconds"} | ({self.speed} if self.count else set())
        for row in state_dict["rows"]:
            known = needed <= row.keys() and not row.keys().isdisjoint(self.figures)
            if not known or not all(isinstance(value, (int, float)) for value in row.values()):
                raise MisfitError(f"its callbacks['History']['rows'] has a row of other figures: {row}")
        self.rows = [dict(row) for row in state_dict["rows"]]
        self._loss, self._steps, self._counted = state_dict["sums"]
        self._whole, self._training = map(_Clock, state_dict["seconds"])


class _Clock:
    """Adds up time, not counting any while it is stopped."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._before, self._since = seconds, math.inf

    @property
    def seconds(self) -> float:
        return self._before + max(0.0, time.monotonic() - self._since)

    def start(self) -> None:
        self._since = time.monotonic()

    def stop(self) -> None:
        self._before, self._since = self.seconds, math.inf


def write_csv(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write rows of numbers as a CSV file, or replace it.

    Args:
        path: The file.
        rows: The rows; a column that one of them lacks is empty there.
    """
    text = io.StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


Curves = Mapping[str, Sequence[Sequence[float]]]


def draw_curves(path: Path, x_label: str, y_label: str, curves: Curves, right: Curves | None = None) -> None:
    """Draw curves as PNG.

    Args:
        path: The file to write or replace.
        x_label: What is on the horizontal axis.
        y_label: What is on the vertical axis.
        curves: The x and y of each curve, by name.
        right: The same for curves with a vertical axis of their own.
    """
    # Figure, not pyplot: no display is looked for, and nothing outlives the call.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel=x_label, ylabel=y_label)
    lines = [line for name, xy in curves.items() for line in axes.plot(*xy, marker=".", label=name)]
    for name, xy in (right or {}).items():
        lines += axes.twinx(ylabel=name).plot(*xy, "C1", marker=".", label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(handles=lines)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)
