"""Checks that a run can be continued from a checkpoint: it must have the form that the run itself writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from sru_apps.train.errors import MisfitError, clip
from sru_apps.train.weights import is_whole

_NUMBERS: dict[type, Any] = {bool: bool, int: int, float: (int, float)}
"""The types accepted in place of a number's type."""
_OLDEST = ("History", "RunCheckpoints")
"""The callbacks whose state every checkpoint has."""


def check_form(checkpoint: Mapping[str, Any], trainer: Trainer, module: LightningModule) -> None:
    """Refuse a checkpoint whose parts do not have the form that Lightning, torch and our callbacks write.

    Args:
        checkpoint: The checkpoint.
        trainer: The trainer, connected to the module, before it restores anything.
        module: The module, whose weights have been compared with those of the checkpoint.

    Raises:
        MisfitError: A part is missing or of another form.
    """
    configured: Any = module.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    schedules = [configured["lr_scheduler"]["scheduler"]] if isinstance(configured, dict) else []
    callbacks = {callback.state_key: callback.state_dict() for callback in getattr(trainer, "callbacks", ())}
    saved = checkpoint.get("callbacks")
    if isinstance(saved, Mapping):
        # Earlier versions had fewer callbacks; the new ones start from scratch.
        callbacks = {name: state for name, state in callbacks.items() if name in saved or name in _OLDEST}
    wanted = {
        "epoch": 0,
        "global_step": 0,
        "loops": {"fit_loop": trainer.fit_loop.state_dict()},
        "callbacks": {name: state for name, state in callbacks.items() if state},
        "optimizer_states": [
            {"state": {}, "param_groups": [{"lr": 0.0, "params": []} for _ in optimizer.param_groups]}
        ],
        "lr_schedulers": [schedule.state_dict() for schedule in schedules],
    }
    for part, form in wanted.items():
        _check(checkpoint.get(part), form, part)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    found = checkpoint["optimizer_states"][0]
    order = [key for group in found["param_groups"] for key in group["params"]]
    # With sharded weights, the states of the optimizer are stored under their names.
    named: dict[Any, Tensor] = dict(module.named_parameters())
    if order == list(range(len(parameters))):
        named = dict(enumerate(parameters))
    elif not all(isinstance(key, str) for key in order) or sorted(order) != sorted(named):
        raise MisfitError("its optimizer_states[0]['param_groups'] are not of the weights in their order")
    kept = _state_of(optimizer)
    for key, state in found["state"].items():
        place = f"optimizer_states[0]['state'][{key!r}]"
        if key not in named:
            raise MisfitError(f"{place} belongs to no weight")
        form = {
            name: torch.empty(named[key].shape if x.ndim else (), device="meta") for name, x in kept.items()
        }
        _check(state, form, place)


def _state_of(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state that an optimizer keeps for each weight."""
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    options = {name: value for name, value in optimizer.param_groups[0].items() if name != "params"}
    kind: Any = type(optimizer)
    other: Optimizer = kind([{"params": [weight], **options}])
    other.step()
    return {name: x for name, x in other.state[weight].items() if isinstance(x, Tensor)}


def _check(found: Any, form: Any, place: str) -> None:
    """Compare a value with a template; an empty list in the template accepts any list."""
    if isinstance(form, Tensor):
        if not is_whole(found) or found.shape != form.shape:
            raise MisfitError(f"its {place} is not a tensor of shape {tuple(form.shape)}")
    elif isinstance(form, Mapping):
        if not isinstance(found, Mapping):
            raise MisfitError(f"its {place} is not a table but {type(found).__name__}")
        for name, part in form.items():
            if name not in found:
                raise MisfitError(f"its {place} lacks {name!r}")
            _check(found[name], part, f"{place}[{name!r}]")
    elif isinstance(form, (list, tuple)):
        if not isinstance(found, (list, tuple)) or (form and len(found) != len(form)):
            raise MisfitError(f"its {place} is not a list of {len(form) or 'any'} parts")
        for number, part in enumerate(form):
            _check(found[number], part, f"{place}[{number}]")
    elif not isinstance(found, _NUMBERS.get(type(form), object)):
        raise MisfitError(f"its {place} is not a number but {type(found).__name__}")


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """Name the settings that differ.

    Args:
        ours: The settings of this run, in nested tables.
        theirs: The settings of the run to continue.
    """
    for key in ours:
        mine, other = ours[key], theirs.get(key)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            yield from differences(mine, other)
        elif mine != other:
            yield f"{key}={clip(repr(other), 80)}, not {clip(repr(mine), 80)}"
