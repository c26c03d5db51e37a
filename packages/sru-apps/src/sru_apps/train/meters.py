"""Meters for training: elapsed time, the mean loss, and the time left."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import Trainer

from sru_apps.train.errors import MisfitError


class Clock:
    """A stopwatch that adds up time while it runs.

    Args:
        seconds: The initial time.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._before, self._since = seconds, math.inf

    @property
    def seconds(self) -> float:
        """The time so far."""
        return self._before + max(0.0, time.monotonic() - self._since)

    def start(self) -> None:
        """Start counting."""
        self._before, self._since = self.seconds, time.monotonic()

    def stop(self) -> None:
        """Stop counting."""
        self._before, self._since = self.seconds, math.inf


def batch_loss(trainer: Trainer, outputs: Any) -> torch.Tensor:
    """Return the loss of a batch, on its device.

    Args:
        trainer: The trainer.
        outputs: The result of the training step, with `mean_loss`, or else `loss`.
    """
    loss: torch.Tensor | None = outputs.get("mean_loss")
    # Lightning has already divided `loss`.
    return outputs["loss"].detach() * trainer.accumulate_grad_batches if loss is None else loss


class Meter:
    """The mean loss of some batches, and the number of units in them.

    The loss is summed in float64 on its device, without synchronising.
    """

    def __init__(self) -> None:
        self.loss: torch.Tensor | float = 0.0
        self.batches = self.counted = 0
        self.clock = Clock()

    def add(self, trainer: Trainer, outputs: Any, counted: int) -> None:
        """Add a batch.

        Args:
            trainer: The trainer.
            outputs: The result of the training step.
            counted: The number of units in the batch.
        """
        self.loss = self.loss + batch_loss(trainer, outputs).double()
        self.batches += 1
        self.counted += counted * trainer.world_size

    def mean(self, trainer: Trainer) -> float:
        """The mean loss over all processes, which must all call this; NaN if there is none."""
        loss = float(self.loss)
        if trainer.world_size > 1:
            device = trainer.strategy.root_device
            loss = float(trainer.strategy.reduce(torch.tensor(loss, device=device), reduce_op="mean"))
        return loss / self.batches if self.batches else math.nan

    @property
    def rate(self) -> float:
        """The number of units per second, to one decimal."""
        return round(self.counted / max(self.clock.seconds, 1e-9), 1)

    def sums(self) -> list[float]:
        """The sums, as plain numbers."""
        return [float(self.loss), self.batches, self.counted]

    def load(self, sums: Sequence[float], seconds: float) -> None:
        """Continue from sums and a time.

        Raises:
            MisfitError: They are not valid sums.
        """
        loss, batches, counted = sums
        if not all(isinstance(value, (int, float)) for value in (*sums, seconds)):
            raise MisfitError(f"its sums of the loss are not numbers: {sums}")
        self.loss, self.batches, self.counted = loss, int(batches), int(counted)
        self.clock = Clock(seconds)


class TimeLeft:
    """The time that the rest of the training takes, at the speed of this session.

    seconds of a step · steps left + seconds of a validation · validations left
    """

    def __init__(self) -> None:
        self._whole, self._validating = Clock(), Clock()
        self._validations = self._first_step = 0

    def start(self, trainer: Trainer) -> None:
        """Begin a session."""
        self._first_step = trainer.global_step
        self._whole.start()

    def validation_starts(self) -> None:
        """Time validation separately."""
        self._validating.start()

    def validation_ends(self) -> None:
        """Return to training."""
        self._validating.stop()
        self._validations += 1

    def seconds(self, trainer: Trainer, validations_per_epoch: int = 1) -> float | None:
        """The time left; None while it cannot be estimated.

        Args:
            trainer: The trainer.
            validations_per_epoch: How often an epoch is validated.
        """
        done = trainer.global_step - self._first_step
        if done < 1 or not trainer.max_epochs:
            return None
        steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        last = trainer.max_epochs * steps_per_epoch
        if trainer.max_steps > 0:
            last = min(last, trainer.max_steps)
        left = max(0, last - trainer.global_step)
        validations = math.ceil(left / steps_per_epoch * validations_per_epoch)
        of_validation = self._validating.seconds / max(1, self._validations)
        return (self._whole.seconds - self._validating.seconds) / done * left + of_validation * validations


def rounded(seconds: float) -> str:
    """Format a time with at most two digits: `41 s`, `2 min`, `3 h`."""
    for unit, length, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{max(1, round(seconds / length))} {unit}"
    return f"{seconds / 86400:.0f} days"
