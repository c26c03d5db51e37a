"""Which implementation runs a recurrence: the compiled kernels or the plain-PyTorch reference.

The kernels come with the package `sru-kernels` (`pip install sru-nn[kernels]`). With the choice at `"auto"`
they run wherever they can, and the reference runs everywhere else. The choice is process-wide; it starts as
the environment variable `SRU_NN_BACKEND` says, and at `"auto"` without it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import warnings
from collections.abc import Iterator
from typing import Literal, get_args

import torch

Choice = Literal["auto", "kernels", "reference"]

VARIABLE = "SRU_NN_BACKEND"
# The devices that sru-kernels has kernels for.
_DEVICES = ("cpu",)


def _checked(choice: str, source: str) -> Choice:
    if choice not in get_args(Choice):
        raise ValueError(f"{source} must be one of {', '.join(get_args(Choice))}, got {choice!r}")
    return choice  # type: ignore[return-value]


_choice: Choice = _checked(os.environ.get(VARIABLE, "auto"), f"the environment variable {VARIABLE}")
_installed = importlib.util.find_spec("sru_kernels") is not None
_looked = False
_problem: str | None = None


def choose(choice: Choice) -> None:
    """Choose the implementation from here on.

    Args:
        choice: `"auto"`, `"kernels"` (an error where they cannot run) or `"reference"`.

    Raises:
        ValueError: The choice is none of the three.
    """
    global _choice
    _choice = _checked(choice, "backend.choose: choice")


@contextlib.contextmanager
def using(choice: Choice) -> Iterator[None]:
    """Choose the implementation for a `with` block; the choice before it comes back at its end.

    Args:
        choice: As for `choose`.

    Raises:
        ValueError: The choice is none of the three.
    """
    before = _choice
    choose(choice)
    try:
        yield
    finally:
        choose(before)


def active(device: torch.device | str = "cpu") -> Literal["kernels", "reference"]:
    """Return what would run a recurrence on a device now.

    Args:
        device: The device of the tensors.

    Raises:
        RuntimeError: The choice is `"kernels"` and they cannot run there; the message says why.
    """
    if _choice == "reference":
        return "reference"
    kind = torch.device(device).type
    problem = _kernels_problem() if kind in _DEVICES else f"sru-kernels has no kernels for {kind} tensors"
    if problem is None:
        return "kernels"
    if _choice == "kernels":
        raise RuntimeError(f"the backend 'kernels' was chosen, but {problem}; choose 'auto' or 'reference'")
    return "reference"


def _kernels_problem() -> str | None:
    """Say why the kernels cannot run, or None; they are imported once, at the first recurrence."""
    global _looked, _problem
    if not _installed:
        return "the package sru-kernels is not installed (pip install sru-nn[kernels])"
    # A compiler cannot trace an import; the operator itself then imports them, when it first runs.
    if _looked or torch.compiler.is_compiling():
        return _problem
    _looked = True
    try:
        importlib.import_module("sru_kernels")
    except ImportError as error:
        _problem = f"the installed package sru-kernels cannot be imported: {error}"
        if _choice == "auto":
            warnings.warn(
                f"sru_nn runs its slower reference operators, because {_problem}; "
                f"install sru-kernels anew, or set {VARIABLE}=reference to silence this warning",
                stacklevel=2,
            )
    return _problem
