"""Optimizers and schedules by name, from typed options.

`LearningRate` does not combine torch's schedules, because a resumed run must equal an uninterrupted one.
Lightning steps the schedules of an epoch after its checkpoint is written, and not again when the run is
resumed, so `ExponentialLR` and `ReduceLROnPlateau` would lose their last step. `OneCycleLR` stores its number
of steps in its state and raises beyond it, so a run could not be extended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sru_apps.ranges import check_ranges, ranged

OptimizerName = Literal["adam", "adamw", "adamax", "radam", "sgd"]
ScheduleName = Literal["constant", "noam", "cosine", "one-cycle", "exponential", "plateau"]

# As in torch's OneCycleLR: the first and the last rate as fractions of the peak, and the momenta.
_CYCLE_RATES = (1 / 25, 1.0, 1 / 250_000)
_CYCLE_MOMENTA = (0.95, 0.85, 0.95)

_OPTIMIZERS: dict[str, tuple[Any, ...]] = {
    "adam": (torch.optim.Adam, "betas", "eps"),
    "adamw": (torch.optim.AdamW, "betas", "eps"),
    "adamax": (torch.optim.Adamax, "betas", "eps"),
    "radam": (torch.optim.RAdam, "betas", "eps", "decoupled_weight_decay"),
    "sgd": (torch.optim.SGD, "momentum"),
}
"""The class of each optimizer, and its options besides the learning rate and the weight decay."""
_FUSED = ("adam", "adamw", "sgd")


@dataclass(frozen=True)
class OptimizerConfig:
    """Choice and options of the optimizer and its schedule.

    Raises:
        ValueError: A number is out of its range, or an option does not belong to the optimizer.
    """

    name: OptimizerName = ranged("adamw", among=get_args(OptimizerName))  # noqa: RUF009
    """The optimizer."""
    lr: float = ranged(1e-3, at_least=0)
    """The learning rate; with a schedule, its peak."""
    betas: tuple[float, float] = ranged((0.9, 0.999), at_least=0, below=1)
    """Decay rates of the two moments of adam, adamw, adamax and radam."""
    eps: float = ranged(1e-8, at_least=0)
    """The term added to the denominator by adam, adamw, adamax and radam."""
    momentum: float = 0.0
    """Momentum of sgd."""
    weight_decay: float = ranged(0.0, at_least=0)
    """Weight decay, decoupled for adamw, otherwise added to the gradient."""
    decoupled_weight_decay: bool = False
    """radam: decouple the weight decay."""
    decay_all: bool = False
    """Apply weight decay to biases, norms and other vectors too."""
    average: float | None = ranged(None, above=0, below=1)
    """Validate, test and export an exponential moving average of the weights with this decay, such as 0.999,
    which is lower in the first steps; default: the weights themselves."""
    schedule: ScheduleName = "constant"
    """How the learning rate changes after the warm-up: constant; inverse square root of the step (noam,
    called inverse_sqrt elsewhere); half a cosine down to `final_fraction`; one rise and fall, with the
    momentum doing the opposite (one-cycle); multiplied by `gamma` each epoch, starting at `gamma_from_epoch`
    (exponential); multiplied by `plateau_factor` when the validation loss stops improving (plateau)."""
    warmup_steps: int = ranged(0, at_least=0)
    """Steps over which the learning rate rises linearly from zero; for one-cycle, to the peak (0: 30 % of all
    steps)."""
    final_fraction: float = ranged(0.0, at_least=0, at_most=1)
    """cosine: the last learning rate as a fraction of the peak."""
    gamma: float = ranged(0.98, above=0, at_most=1)
    """exponential: factor of the learning rate."""
    gamma_from_epoch: int = ranged(2, at_least=1)
    """exponential: the first epoch, counted from 1, with a reduced learning rate."""
    plateau_factor: float = ranged(0.5, above=0, below=1)
    """plateau: factor of the learning rate."""
    plateau_patience: int = ranged(0, at_least=0)
    """plateau: validations without improvement before the learning rate is reduced."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.momentum and self.name != "sgd":
            raise ValueError(f"momentum is for sgd; {self.name} has betas")
        if self.decoupled_weight_decay and self.name != "radam":
            raise ValueError(
                f"decoupled_weight_decay is for radam, got it for {self.name}; leave it out "
                "(adamw always decouples its weight decay)"
            )
        if self.schedule == "noam" and self.warmup_steps < 1:
            raise ValueError("the noam schedule needs warmup_steps of at least 1, got 0")

    @classmethod
    def of(cls, options: OptimizerConfig | Mapping[str, Any]) -> OptimizerConfig:
        """Return a configuration, or build it from its options, which may have old names."""
        if isinstance(options, OptimizerConfig):
            return options
        return cls(**{{"learning_rate": "lr"}.get(name, name): value for name, value in options.items()})


def build_optimizer(module: nn.Module, config: OptimizerConfig, *, fused: bool = False) -> Optimizer:
    """Build an optimizer for a module's trainable parameters.

    Args:
        module: The module.
        config: Its options.
        fused: Use the fused implementation, if the optimizer has one.

    Returns:
        The optimizer, with the parameters that decay first.
    """
    kind, *names = _OPTIMIZERS[config.name]
    options = {name: getattr(config, name) for name in ("lr", *names)}
    if fused and config.name in _FUSED:
        options["fused"] = True
    return kind(parameter_groups(module, config), **options)  # type: ignore[no-any-return]


def parameter_groups(module: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Split the trainable parameters into those that decay and those that do not.

    Args:
        module: The module.
        config: `weight_decay` and `decay_all`.

    Returns:
        One group or two, each with its `weight_decay`.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if config.weight_decay == 0 or config.decay_all:
        return [{"params": parameters, "weight_decay": config.weight_decay}]
    matrices, vectors = ([p for p in parameters if (p.ndim > 1) is matrix] for matrix in (True, False))
    groups = [(matrices, config.weight_decay), (vectors, 0.0)]
    return [{"params": group, "weight_decay": decay} for group, decay in groups if group]


class LearningRate(LRScheduler):
    """The learning rate of every step: p is the peak, n the step from 0, w the warm-up steps, N all steps.

        constant, plateau   p · min(1, (n + 1)/(w + 1))
        exponential         as constant, times γ^max(0, k − s + 1) in epoch k, with s = `gamma_from_epoch`
        noam                p · min((n + 1)/w, √(w/(n + 1)))
        cosine              as constant up to w; then p · (e + (1 − e) · (1 + cos(π (n − w)/(N − w)))/2)
        one-cycle           a half cosine up to p, and one down to nearly zero; momentum does the opposite

    The rate is a pure function of n, except that `validated` reduces it permanently on a plateau, as does
    `begin_epoch` for `exponential`, because epochs can differ in their number of steps.

    Args:
        optimizer: The optimizer whose rate it sets.
        config: The schedule and its numbers.
        total_steps: N.

    Source: noam: Vaswani et al., "Attention Is All You Need", 2017, section 5.3, scaled to the
    peak p; one-cycle: Smith and Topin, "Super-Convergence", 2018, as in torch's `OneCycleLR`.
    """

    def __init__(self, optimizer: Optimizer, config: OptimizerConfig, *, total_steps: int) -> None:
        self.config = config
        self.total_steps = total_steps
        self.scale, self.best_loss, self.bad_validations = 1.0, math.inf, 0
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """Return the rate of a step, counted from 0, as a fraction of the peak."""
        config, warmup = self.config, self.config.warmup_steps
        if config.schedule == "noam":
            return min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))
        if config.schedule == "one-cycle":
            return self._cycle(step, _CYCLE_RATES)
        if step < warmup:
            return self.scale * (step + 1) / (warmup + 1)
        if config.schedule == "cosine":
            share = min(1.0, (step - warmup) / max(1, self.total_steps - warmup))
            return _half_cosine(share, 1.0, config.final_fraction)
        return self.scale

    def _cycle(self, step: int, values: tuple[float, float, float]) -> float:
        """Return the value at a step, going from the first of three values to the second and the third."""
        peak = (self.config.warmup_steps or 0.3 * self.total_steps) - 1
        if step <= peak:
            return _half_cosine(step / max(peak, 1e-9), *values[:2])
        share = min(1.0, (step - peak) / max(self.total_steps - 1 - peak, 1e-9))
        return _half_cosine(share, *values[1:])

    def get_lr(self) -> list[float | Any]:
        """Return the rate of each group for the current step."""
        if self.config.schedule == "one-cycle":
            momentum = self._cycle(self.last_epoch, _CYCLE_MOMENTA)
            for group in self.optimizer.param_groups:
                adam = "betas" in group
                group.update({"betas": (momentum, group["betas"][1])} if adam else {"momentum": momentum})
        return [rate * self.factor(self.last_epoch) for rate in self.base_lrs]

    def begin_epoch(self, epoch: int) -> None:
        """Set the rate of an epoch; for `exponential` only.

        Args:
            epoch: Its number, from 1.
        """
        if self.config.schedule == "exponential":
            self._rescale(self.config.gamma ** max(0, epoch - self.config.gamma_from_epoch + 1))

    def validated(self, loss: float) -> None:
        """Reduce the rate if the validation loss has not improved for too long; for `plateau` only.

        Args:
            loss: The validation loss.
        """
        # A NaN loss is not an improvement.
        self.bad_validations = 0 if loss < self.best_loss else self.bad_validations + 1
        self.best_loss = min(self.best_loss, loss)
        if self.config.schedule == "plateau" and self.bad_validations > self.config.plateau_patience:
            self.bad_validations = 0
            self._rescale(self.scale * self.config.plateau_factor)

    def _rescale(self, scale: float) -> None:
        self.scale = scale
        for group, rate in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = rate * self.factor(self.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the step, and the changes made by epochs or validations."""
        # Not the number of steps, because the run may be extended.
        names = ("last_epoch", "base_lrs", "_step_count", "_last_lr", "scale", "best_loss", "bad_validations")
        return {name: getattr(self, name) for name in names}


def _half_cosine(share: float, start: float, end: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
