"""The learning rate as a function of the step, the epoch and the validation loss.

torch's `ExponentialLR` and `ReduceLROnPlateau` would do, but for a promise: a resumed run equals an
undisturbed one. Lightning steps the schedules of an epoch after its checkpoint is written and not again when
the run is resumed, so their last step would be lost. `OneCycleLR` keeps its number of steps in its state and
raises beyond it, so a run could not be prolonged.
"""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sru_apps.train.optimizers import OptimizerConfig

# As in torch's OneCycleLR: the first and the last rate as fractions of the peak, and the momenta.
_CYCLE_FIRST, _CYCLE_LAST = 1 / 25, 1 / 250_000
_CYCLE_MOMENTA = (0.95, 0.85)


class LearningRate(LRScheduler):
    """The learning rate of every step: p is the peak, n the step from 0, w the warm-up steps, N all steps.

        constant, plateau   p · min(1, (n + 1)/(w + 1))
        exponential         as constant, times γ^max(0, k − s + 1) in epoch k, with s = `gamma_from_epoch`
        noam                p · min((n + 1)/w, √(w/(n + 1)))
        cosine              as constant up to w; then p · (e + (1 − e) · (1 + cos(π (n − w)/(N − w)))/2)
        one-cycle           a half cosine up to p, and one down to nearly nothing; momentum the other way

    The rate is a pure function of n, except that `validated` shrinks it for good on a plateau, and
    `begin_epoch` for `exponential`, since epochs can differ in their number of steps.

    Args:
        optimizer: Whose rate it is.
        config: The schedule and its numbers.
        total_steps: N.

    Source: noam: Vaswani et al., "Attention Is All You Need", 2017, section 5.3, scaled to the
    peak p; one-cycle: Smith and Topin, "Super-Convergence", 2018, as in torch's `OneCycleLR`.
    """

    def __init__(self, optimizer: Optimizer, config: OptimizerConfig, *, total_steps: int) -> None:
        self.config = config
        self.total_steps = total_steps
        self.scale = 1.0
        self.best_loss = math.inf
        self.bad_validations = 0
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """The rate of a step, counted from 0, as a fraction of the peak."""
        return self.scale * self._shape(step)

    def _shape(self, step: int) -> float:
        config, warmup = self.config, self.config.warmup_steps
        if config.schedule == "noam":
            return min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))
        if config.schedule == "one-cycle":
            share, rising = self._cycle(step)
            start, end = (_CYCLE_FIRST, 1.0) if rising else (1.0, _CYCLE_LAST)
            return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if config.schedule == "cosine":
            share = min(1.0, (step - warmup) / max(1, self.total_steps - warmup))
            return config.final_fraction + (1 - config.final_fraction) * (1 + math.cos(math.pi * share)) / 2
        return 1.0

    def momentum(self, step: int) -> float:
        """The momentum of a step of one-cycle."""
        share, rising = self._cycle(step)
        start, end = _CYCLE_MOMENTA if rising else _CYCLE_MOMENTA[::-1]
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

    def _cycle(self, step: int) -> tuple[float, bool]:
        """How far the present half of the cycle has come, and whether it is the first."""
        peak = (self.config.warmup_steps or 0.3 * self.total_steps) - 1
        if step <= peak:
            return step / max(peak, 1e-9), True
        return min(1.0, (step - peak) / max(self.total_steps - 1 - peak, 1e-9)), False

    def get_lr(self) -> list[float | Any]:
        """The rate of each group for the present step."""
        factor = self.factor(self.last_epoch)
        if self.config.schedule == "one-cycle":
            self._set_momentum(self.momentum(self.last_epoch))
        return [rate * factor for rate in self.base_lrs]

    def _set_momentum(self, value: float) -> None:
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (value, *group["betas"][1:])
            else:
                group["momentum"] = value

    def begin_epoch(self, epoch: int) -> None:
        """Set the rate of an epoch; for `exponential` only.

        Args:
            epoch: Its number, from 1.
        """
        if self.config.schedule == "exponential":
            self._rescale(self.config.gamma ** max(0, epoch - self.config.gamma_from_epoch + 1))

    def validated(self, loss: float) -> None:
        """Shrink the rate when the validation loss has not improved for too long; for `plateau` only.

        Args:
            loss: The validation loss.
        """
        if self.config.schedule != "plateau":
            return
        if loss < self.best_loss:
            self.best_loss, self.bad_validations = loss, 0
            return
        self.bad_validations += 1
        if self.bad_validations > self.config.plateau_patience:
            self.bad_validations = 0
            self._rescale(self.scale * self.config.plateau_factor)

    def _rescale(self, scale: float) -> None:
        self.scale = scale
        factor = self.factor(self.last_epoch)
        for group, rate in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = rate * factor

    def state_dict(self) -> dict[str, Any]:
        """What changes: the step, and what epochs or validations have done."""
        names = ("last_epoch", "base_lrs", "_step_count", "_last_lr")
        return {
            **{name: getattr(self, name) for name in names},
            "scale": [self.scale, self.best_loss, self.bad_validations],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint, whose run may have been shorter."""
        state = dict(state_dict)
        self.scale, self.best_loss, self.bad_validations = state.pop("scale")
        self.__dict__.update(state)
