"""Attributes that the layers of a module were built from: a new value would have no effect."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def refuse_change(module: nn.Module, fixed: frozenset[str], name: str, value: Any) -> None:
    """Raise if a module's `__setattr__` is about to change the value of a fixed attribute.

    A subclass may store a module or a tensor of its own under any name. `num_layers` may be set to the
    current number of layers.

    Args:
        module: The module.
        fixed: The attributes that cannot change.
        name: The attribute.
        value: The new value.

    Raises:
        AttributeError: The new value would have no effect.
    """
    if name not in fixed or name not in vars(module) or isinstance(value, (nn.Module, Tensor)):
        return
    if vars(module)[name] == value or (name == "num_layers" and value == _layers(module)):
        return
    who = type(module).__name__
    raise AttributeError(
        f"{who}: {name} is {vars(module)[name]!r} and cannot become {value!r}, as the layers are made; "
        f"construct another {who}"
    )


def _layers(module: nn.Module) -> int:
    return next((len(child) for child in module.children() if isinstance(child, nn.ModuleList)), 0)
