"""Optimizers by name, from typed options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from sru_apps.ranges import check_ranges, ranged

OptimizerName = Literal["adam", "adamw", "radam", "sgd"]
ScheduleName = Literal["constant", "noam", "cosine", "one-cycle", "exponential", "plateau"]

_CLASSES: dict[str, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "radam": torch.optim.RAdam,
    "sgd": torch.optim.SGD,
}


@dataclass(frozen=True)
class OptimizerConfig:
    """What moves the weights, and how far.

    Raises:
        ValueError: A number is out of its range, or an option does not belong to the optimizer.
    """

    name: OptimizerName = ranged("adamw", among=tuple(_CLASSES))
    """The optimizer."""
    lr: float = ranged(1e-3, at_least=0)
    """The learning rate; with a schedule, its peak."""
    betas: tuple[float, float] = ranged((0.9, 0.999), at_least=0, below=1)
    """Decay rates of the two moments of adam, adamw and radam."""
    eps: float = ranged(1e-8, at_least=0)
    """Term that adam, adamw and radam add to the denominator."""
    momentum: float = 0.0
    """Momentum of sgd."""
    weight_decay: float = ranged(0.0, at_least=0)
    """Weight decay, decoupled for adamw, else added to the gradient."""
    decoupled_weight_decay: bool = False
    """radam: decouple the weight decay."""
    decay_all: bool = False
    """Apply weight decay to biases, norms and other vectors too."""
    schedule: ScheduleName = "constant"
    """What the learning rate does after the warm-up: stay constant; fall with the inverse square root of the
    step (noam); fall to `final_fraction` along half a cosine; rise and fall once, with the momentum doing the
    opposite (one-cycle); be multiplied by `gamma` each epoch from `gamma_from_epoch` on (exponential); be
    multiplied by `plateau_factor` when the validation loss stops improving (plateau)."""
    warmup_steps: int = ranged(0, at_least=0)
    """Steps in which the learning rate rises linearly from zero; for one-cycle, until the peak (0: 30 %)."""
    final_fraction: float = ranged(0.0, at_least=0, at_most=1)
    """cosine: the last learning rate as a fraction of the peak."""
    gamma: float = ranged(0.98, above=0, at_most=1)
    """exponential: factor of the learning rate."""
    gamma_from_epoch: int = ranged(2, at_least=1)
    """exponential: the first epoch, counted from 1, whose learning rate is multiplied."""
    plateau_factor: float = ranged(0.5, above=0, below=1)
    """plateau: factor of the learning rate."""
    plateau_patience: int = ranged(0, at_least=0)
    """plateau: validations without improvement to tolerate."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.momentum and self.name != "sgd":
            raise ValueError(f"momentum belongs to sgd; {self.name} has betas")
        if self.decoupled_weight_decay and self.name != "radam":
            raise ValueError(
                f"decoupled_weight_decay belongs to radam, got it for {self.name}; leave it out "
                "(adamw always decouples its weight decay)"
            )
        if self.schedule == "noam" and self.warmup_steps < 1:
            raise ValueError("the noam schedule needs warmup_steps of at least 1, got 0")

    @classmethod
    def of(cls, options: OptimizerConfig | Mapping[str, Any]) -> OptimizerConfig:
        """Return a configuration, or make it of its options, which may have former names."""
        if isinstance(options, OptimizerConfig):
            return options
        options = dict(options)
        if "learning_rate" in options:
            options["lr"] = options.pop("learning_rate")
        return cls(**options)


def build_optimizer(module: nn.Module, config: OptimizerConfig, *, fused: bool = False) -> Optimizer:
    """Make an optimizer for a module's trainable parameters.

    Args:
        module: The module.
        config: What to make.
        fused: Use the fused implementation, where the optimizer has one.

    Returns:
        The optimizer, with the parameters that decay first.
    """
    options: dict[str, Any] = {"lr": config.lr}
    if config.name == "sgd":
        options["momentum"] = config.momentum
    else:
        options.update(betas=tuple(config.betas), eps=config.eps)
    if config.name == "radam":
        options["decoupled_weight_decay"] = config.decoupled_weight_decay
    elif fused:
        options["fused"] = True
    return _CLASSES[config.name](parameter_groups(module, config), **options)


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
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [(matrices, config.weight_decay), (vectors, 0.0)]
    return [{"params": group, "weight_decay": decay} for group, decay in groups if group]
