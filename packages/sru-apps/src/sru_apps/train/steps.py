"""One row of figures every few steps, in `steps.csv` and for the loggers, kept across interruptions.

Lightning's loggers write values as soon as they get them; after a kill, rows after the last checkpoint would
appear twice. Here a checkpoint records the length of the table, and a resumed run truncates it to that.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch.optim import Optimizer

from sru_apps.train.errors import MisfitError
from sru_apps.train.history import epochs_done
from sru_apps.train.meters import Meter


class StepLog(Callback):
    """Record the training every few steps.

    The columns are `step`, `epoch`, `train_loss` (the mean since the previous row), `lr`, `gradient_norm` (of
    the step, before clipping) and the speed without validation. Only a step with a row waits for a GPU. The
    last step always has a row, without a norm.

    Args:
        table: The CSV file.
        every: Steps between rows; 0 for none.
        count: Counts the units in a batch; without it no speed is recorded.
        unit: The name of the unit.
    """

    def __init__(
        self, table: Path, *, every: int, count: Callable[[Any], int] | None = None, unit: str = "items"
    ) -> None:
        self.table, self.every, self.count, self.speed = table, every, count, f"{unit}_per_second"
        self._meter = Meter()
        self._norm: float | None = None
        self._size = 0
        self._last: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find where the checkpoint left the table, and start the clock."""
        if trainer.is_global_zero:
            self._size = _whole_rows(self.table, self._size)
        self._meter.clock.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exclude validation from the speed."""
        self._meter.clock.start()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exclude validation from the speed."""
        self._meter.clock.stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Continue training within an epoch."""
        if not trainer.is_last_batch:
            self._meter.clock.start()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Measure the gradient of a step that gets a row."""
        # With a gradient scaler the gradients may still be scaled.
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        if self.every and (trainer.global_step + 1) % self.every == 0 and not scaled:
            gradients = [
                p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
            ]
            norm = torch.nn.utils.get_total_norm(gradients)
            self._norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a batch, and finish a row if one is due."""
        if not self.every:
            return
        self._meter.add(trainer, outputs, 0 if self.count is None else self.count(batch))
        stepped = trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not stepped:
            return
        (rate, *_) = (group["lr"] for group in trainer.optimizers[0].param_groups)
        self._last = {"step": trainer.global_step, "epoch": epochs_done(trainer), "lr": float(rate)}
        if trainer.global_step % self.every:
            return
        row = self._row(trainer)
        self._meter, self._norm = Meter(), None
        self._meter.clock.start()
        if trainer.is_global_zero:
            self._size += self._write(row)
            shown = {f"steps/{key}": x for key, x in row.items() if key != "step" and x is not None}
            for logger in trainer.loggers:
                logger.log_metrics(shown, step=trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a row for the steps since the last one; a run that is extended removes it again."""
        if self._last and self._last["step"] % self.every:
            row = self._row(trainer)
            if trainer.is_global_zero:
                self._write(row)

    def _row(self, trainer: Trainer) -> dict[str, Any]:
        step, epoch, rate = self._last.values()
        loss = self._meter.mean(trainer)
        row = {"step": step, "epoch": epoch, "train_loss": loss, "lr": rate, "gradient_norm": self._norm}
        return row if self.count is None else {**row, self.speed: self._meter.rate}

    def _write(self, row: dict[str, Any]) -> int:
        text = io.StringIO()
        writer = csv.DictWriter(text, row, lineterminator="\n")
        if self._size == 0:
            writer.writeheader()
        writer.writerow(row)
        content = text.getvalue().encode()
        with self.table.open("ab") as file:
            file.truncate(self._size)
            file.write(content)
        return len(content)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Flush the rows that the checkpoint relies on to disk before it is written."""
        if not trainer.is_global_zero or not self._size:
            return
        with self.table.open("rb") as file:
            os.fsync(file.fileno())
        for logger in trainer.loggers:
            logger.save()

    def state_dict(self) -> dict[str, Any]:
        """Return the length of the table and the sums since its last row, as plain numbers."""
        return {
            "size": self._size,
            "sums": self._meter.sums(),
            "seconds": self._meter.clock.seconds,
            "last": self._last,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint.

        Raises:
            MisfitError: Its record of the last step is invalid.
        """
        self._size = int(state_dict["size"])
        self._meter.load(state_dict["sums"], state_dict["seconds"])
        last = state_dict.get("last", {})  # missing in checkpoints of earlier versions
        if last and not all(isinstance(last[key], (int, float)) for key in ("step", "epoch", "lr")):
            raise MisfitError(f"its callbacks['StepLog']['last'] holds no numbers: {last}")
        self._last = {key: last[key] for key in ("step", "epoch", "lr") if last}


def _whole_rows(path: Path, size: int) -> int:
    """Return the offset of the end of the last complete row in the first `size` bytes of a table."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return file.read(size).rfind(b"\n") + 1
