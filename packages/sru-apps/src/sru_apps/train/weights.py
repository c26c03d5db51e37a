"""Read checkpoints without running code, and compare their weights with a model before building it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sru_apps.train.errors import MisfitError, UserError, reading
from sru_nn.checkpoints.archive import check_archive
from sru_nn.checkpoints.layouts import is_dense

Module = TypeVar("Module", bound=nn.Module)
_PLAIN = ("hyper_parameters", "datamodule_hyper_parameters")
"""Parts of a checkpoint that hold options."""


class _WithoutDraws(TorchFunctionMode):
    """Skips drawing initial weights, which are replaced. Drawing on "meta" would import torch's compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def build_with(build: Callable[[], Module], weights: Mapping[str, Tensor], *, part: str = "") -> Module:
    """Build a module and load weights that must match it.

    Args:
        build: Builds the module.
        weights: Its state dict; shared weights may be listed under their first name only.
        part: The submodule that they belong to; default: the module itself.

    Raises:
        RuntimeError: The weights do not fit.
    """
    planned = plan(build).get_submodule(part)
    shared = shared_names(planned)
    weights = {**weights, **{name: weights[first] for name, first in shared.items() if first in weights}}
    planned.load_state_dict(weights, assign=True)
    with _WithoutDraws():
        module = build()
    module.get_submodule(part).load_state_dict(weights)
    return module


def plan(build: Callable[[], Module]) -> Module:
    """Build a module without allocating its weights.

    Raises:
        MisfitError: It cannot be built, or the memory of this machine could not hold them.
    """
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with torch.device("meta"), _WithoutDraws():
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
    """Map each further name of a shared weight to its first name."""
    first: dict[int, str] = {}
    names = {name: first.setdefault(id(w), name) for name, w in network.state_dict(keep_vars=True).items()}
    return {name: other for name, other in names.items() if other != name}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint onto the CPU, with `weights_only=True`.

    Args:
        path: A `.ckpt` file.

    Returns:
        The checkpoint's dictionary.

    Raises:
        UserError: The file is missing, damaged or not a checkpoint.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    with reading(path):
        check_archive(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
            raise UserError(f"{path} is not a training checkpoint: it holds no `state_dict`")
        check_weights(checkpoint["state_dict"])
        for name in _PLAIN:
            check_plain(checkpoint.get(name, {}), name)
    return checkpoint


def check_weights(weights: Any) -> None:
    """Refuse anything but a state dict of dense tensors.

    Args:
        weights: The content of a file, on the CPU.

    Raises:
        MisfitError: It is not a state dict, or a tensor is larger than its storage.
    """
    if not isinstance(weights, Mapping):
        raise MisfitError(f"its state_dict is not a table of weights but a {type(weights).__name__}")
    for name, weight in weights.items():
        if not isinstance(name, str) or not is_whole(weight):
            raise MisfitError(f"its state_dict[{name!r}] is not a dense tensor")


def check_plain(value: Any, name: str) -> None:
    """Refuse options other than texts, numbers, tables and lists: a tensor would fail only much later.

    Args:
        value: The content of a file.
        name: Its name in messages.

    Raises:
        MisfitError: A part of it is something else.
    """
    if isinstance(value, Mapping):
        for key, part in value.items():
            check_plain(part, f"{name}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            check_plain(part, f"{name}[{number}]")
    elif value is not None and not isinstance(value, (str, int, float)):
        raise MisfitError(f"its {name} is not a plain value but a {type(value).__name__}")


def is_whole(weight: Any) -> bool:
    """Whether this is a dense tensor on the CPU that stores all of its elements, none repeated."""
    return (
        is_dense(weight)
        and weight.is_cpu
        and not weight.is_complex()
        and weight.numel() * weight.element_size() <= weight.untyped_storage().nbytes()
    )
