"""Which implementation runs a recurrence: the compiled kernels or plain PyTorch.

The kernels come with the package `sru-kernels` (`pip install sru-nn[kernels]`). With the choice at `"auto"`
they run wherever they can, and plain PyTorch everywhere else, with ROCm too. The environment variable
`SRU_NN_BACKEND` is the choice a process starts with; without it that is `"auto"`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from reprlib import repr as short
from typing import Literal, get_args

import torch

Backend = Literal["kernels", "reference"]
Choice = Literal["auto", "kernels", "reference"]

VARIABLE = "SRU_NN_BACKEND"
# The devices that sru-kernels has kernels for.
_DEVICES = ("cpu", "cuda")


def _checked(choice: object, source: str) -> Choice:
    if not isinstance(choice, str) or choice not in get_args(Choice):
        raise ValueError(f"{source} must be one of {', '.join(get_args(Choice))}, got {short(choice)}")
    return choice  # type: ignore[return-value]


_default: Choice = _checked(os.environ.get(VARIABLE, "auto"), f"the environment variable {VARIABLE}")
_choice: ContextVar[Choice | None] = ContextVar("sru_nn.backend", default=None)
_installed = importlib.util.find_spec("sru_kernels") is not None
# Why the kernels cannot run on a device, or None; filled in as devices are met.
_problems: dict[torch.device, str | None] = {}


def choose(choice: Choice) -> None:
    """Choose the implementation for the whole process; a `with using(...)` block goes before it.

    Args:
        choice: `"auto"`, `"kernels"` (an error where they cannot run) or `"reference"`.

    Raises:
        ValueError: The choice is not one of the three.
    """
    global _default
    _default = _checked(choice, "backend.choose: choice")


@contextlib.contextmanager
def using(choice: Choice) -> Iterator[None]:
    """Choose the implementation for a `with` block, in this thread or asynchronous task only.

    A backward pass takes the implementation that ran forward, wherever it is started. A compiled graph
    chooses when it runs: put the block around its call, as a block inside has no effect.

    Args:
        choice: As for `choose`.

    Raises:
        ValueError: The choice is not one of the three.
    """
    _checked(choice, "backend.using: choice")
    if torch.compiler.is_dynamo_compiling():  # which can trace no context variable
        yield
        return
    token = _choice.set(choice)
    try:
        yield
    finally:
        _choice.reset(token)


def _current() -> Choice:
    return _choice.get() or _default


# As torch.compiler.assume_constant_result does, without the seconds it takes to import the compiler.
_current._dynamo_marked_constant = True  # type: ignore[attr-defined]


def active(device: torch.device | str = "cpu") -> Backend:
    """Return what would run a recurrence on a device now.

    Args:
        device: The device of the tensors.

    Raises:
        RuntimeError: The choice is `"kernels"` and they cannot run there; the message says why.
        ValueError: PyTorch knows no such device.
    """
    choice = _current()
    if not isinstance(device, torch.device):
        device = _device(device)
    if choice == "reference":
        return "reference"
    problem = _problem(device, choice)
    if problem is None:
        return "kernels"
    if choice == "kernels":
        raise RuntimeError(f"the backend 'kernels' was chosen, but {problem}; choose 'auto' or 'reference'")
    return "reference"


def _device(name: str) -> torch.device:
    try:
        return torch.device(name)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(
            f"backend.active: device must be a torch.device or its name, got {short(name)}"
        ) from None


def _problem(device: torch.device, choice: Choice) -> str | None:
    """Return why the kernels cannot run on a device, or None; each device is examined once."""
    if not _installed and device.type in _DEVICES:
        return "the package sru-kernels is not installed (pip install sru-nn[kernels])"
    # A compiler cannot trace an import; the operator itself says what is wrong, when it first runs.
    if device in _problems or torch.compiler.is_compiling():
        return _problems.get(device)
    problem = _problems[device] = _examine(device)
    if problem is not None and choice == "auto" and device.type in _DEVICES:
        warnings.warn(
            f"sru_nn runs its slower reference operators on {device.type} tensors, because {problem}; "
            f"fix that, or set {VARIABLE}=reference to silence this warning",
            stacklevel=4,
        )
    return problem


def _examine(device: torch.device) -> str | None:
    if device.type not in _DEVICES:
        return f"sru-kernels has no kernels for {device.type} tensors"
    if device.type == "cuda" and torch.version.hip is not None:  # ROCm calls its devices so
        return "this PyTorch is built for ROCm, for which sru-kernels has no kernels"
    try:
        kernels = importlib.import_module("sru_kernels")
    except ImportError as error:
        return f"the installed package sru-kernels cannot be imported: {error}"
    if device.type == "cpu":
        return None
    index = torch.cuda.current_device() if device.index is None else device.index
    return kernels.cuda.problem(index)  # type: ignore[no-any-return]
