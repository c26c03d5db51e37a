"""The weights of a file, compared with those of a model before anything of their size is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sru_apps.train.errors import MisfitError
from sru_nn.checkpoints.layouts import is_dense

Module = TypeVar("Module", bound=nn.Module)


def build_with(build: Callable[[], Module], weights: Mapping[str, Tensor], *, part: str = "") -> Module:
    """Build a module and give it weights, which must be those of the module.

    Args:
        build: Builds the module.
        weights: Its state dict; shared weights may be there under their first name only.
        part: The submodule that they are of; default: the module itself.

    Raises:
        RuntimeError: They do not fit.
    """
    planned = plan(build).get_submodule(part)
    shared = shared_names(planned)
    weights = {**weights, **{name: weights[first] for name, first in shared.items() if first in weights}}
    planned.load_state_dict(weights, assign=True)
    module = build()
    module.get_submodule(part).load_state_dict(weights)
    return module


def plan(build: Callable[[], Module]) -> Module:
    """Build a module without memory for its weights.

    Raises:
        MisfitError: It cannot be built, or the memory of this machine could not hold them.
    """
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with torch.device("meta"):
            module = build()
        size = sum(weight.numel() * weight.element_size() for weight in module.parameters())
    except (RuntimeError, TypeError, OverflowError) as error:
        raise MisfitError(f"the model cannot be built: {type(error).__name__}: {error}") from error
    if size > most:
        raise MisfitError(
            f"the weights of a model of these sizes take {size / 2**30:,.0f} GiB, and this machine has "
            f"{most / 2**30:,.0f}; choose smaller ones"
        )
    return module


def shared_names(network: nn.Module) -> dict[str, str]:
    """Map each further name of a shared weight to its first one."""
    first: dict[int, str] = {}
    names = {name: first.setdefault(id(w), name) for name, w in network.state_dict(keep_vars=True).items()}
    return {name: other for name, other in names.items() if other != name}


def check_weights(weights: Any) -> None:
    """Refuse what is no state dict of dense tensors.

    Args:
        weights: What a file holds, on the CPU.

    Raises:
        MisfitError: It is none, or one of them is larger than its storage.
    """
    if not isinstance(weights, Mapping):
        raise MisfitError(f"its state_dict is not a table of weights but a {type(weights).__name__}")
    for name, weight in weights.items():
        if not isinstance(name, str) or not is_whole(weight):
            raise MisfitError(f"its state_dict[{name!r}] is not a dense tensor")


def is_whole(weight: Any) -> bool:
    """Whether this is a dense tensor on the CPU whose elements all exist, and not one repeated."""
    return (
        is_dense(weight)
        and weight.is_cpu
        and not weight.is_complex()
        and weight.numel() * weight.element_size() <= weight.untyped_storage().nbytes()
    )
