"""Optimizers by name, from typed options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

OptimizerName = Literal["adam", "adamw", "radam", "sgd"]
ScheduleName = Literal["constant", "noam", "cosine", "one-cycle", "exponential", "plateau"]

_CLASSES: dict[str, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "radam": torch.optim.RAdam,
    "sgd": torch.optim.SGD,
}
_LEAST = {"weight_decay": 0, "warmup_steps": 0, "gamma_from_epoch": 1, "plateau_patience": 0, "eps": 0}


@dataclass(frozen=True)
class OptimizerConfig:
    """What moves the weights, and how far.

    Raises:
        ValueError: When a number is out of its range, or an option does not belong to the optimizer.
    """

    name: OptimizerName = "adamw"
    """The optimizer."""
    learning_rate: float = 1e-3
    """The learning rate, at its peak where there is a schedule."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the two moments of adam, adamw and radam."""
    eps: float = 1e-8
    """What adam, adamw and radam add to the denominator."""
    momentum: float = 0.0
    """Momentum of sgd."""
    weight_decay: float = 0.0
    """Decoupled for adamw, else added to the gradient."""
    decoupled_weight_decay: bool = False
    """radam: whether weight decay is decoupled."""
    decay_all: bool = False
    """Whether weight decay also shrinks biases, norms and other vectors."""
    schedule: ScheduleName = "constant"
    """What the learning rate does after the warm-up: stay; fall with the inverse square root of the step
    (noam); fall to `final_fraction` in a half cosine; rise and fall once with the momentum doing the
    opposite (one-cycle); shrink by `gamma` with each epoch from `gamma_from_epoch` on (exponential); shrink
    by `plateau_factor` when the validation loss has not improved."""
    warmup_steps: int = 0
    """Steps in which the learning rate rises linearly from zero; for one-cycle, until the peak (0: 30 %)."""
    final_fraction: float = 0.0
    """cosine: the last learning rate as a fraction of the peak."""
    gamma: float = 0.98
    """exponential: what the learning rate is multiplied with."""
    gamma_from_epoch: int = 2
    """exponential: the first epoch, counted from 1, whose learning rate is multiplied."""
    plateau_factor: float = 0.5
    """plateau: what the learning rate is multiplied with."""
    plateau_patience: int = 0
    """plateau: validations without improvement that are let pass."""

    def __post_init__(self) -> None:
        if self.name not in _CLASSES:
            raise ValueError(f"unknown optimizer {self.name!r}; expected one of {', '.join(_CLASSES)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        # Written so that NaN is refused too.
        if not self.learning_rate >= 0:
            raise ValueError(f"learning_rate must be at least 0, got {self.learning_rate}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and less than 1, got {tuple(self.betas)}")
        if not 0 <= self.final_fraction <= 1:
            raise ValueError(f"final_fraction must be 0 to 1, got {self.final_fraction}")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must be above 0 and at most 1, got {self.gamma}")
        if not 0 < self.plateau_factor < 1:
            raise ValueError(f"plateau_factor must be between 0 and 1, got {self.plateau_factor}")
        if self.momentum and self.name != "sgd":
            raise ValueError(f"momentum belongs to sgd; {self.name} has betas")
        if self.decoupled_weight_decay and self.name != "radam":
            raise ValueError(
                f"decoupled_weight_decay belongs to radam, got it for {self.name}; leave it out "
                "(adamw decouples its weight decay in any case)"
            )
        if self.schedule == "noam" and self.warmup_steps < 1:
            raise ValueError("the noam schedule takes at least 1 of warmup_steps, got 0")


def build_optimizer(module: nn.Module, config: OptimizerConfig, *, fused: bool = False) -> Optimizer:
    """Make an optimizer of a module's trainable parameters.

    Args:
        module: The module.
        config: What to make.
        fused: Whether to do all in one pass over the weights, where the optimizer can.

    Returns:
        The optimizer, with the parameters that decay first.
    """
    options: dict[str, Any] = {"lr": config.learning_rate}
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
    """Part the trainable parameters into those that decay and those that do not.

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
