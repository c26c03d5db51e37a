"""Which implementation runs a recurrence: the compiled kernels, Triton's or plain PyTorch.

The kernels come with the package `sru-kernels` (`pip install sru-nn[kernels]`) and run on CPU and CUDA
tensors. Triton comes with PyTorch builds for GPUs: CUDA, ROCm (whose devices are also called `cuda`) and
Intel (`xpu`). Plain PyTorch, the reference, runs on any device, including Apple's `mps`.

With the choice `"auto"`, the default, the first of the three that can run on a device is used. The
environment variable `SRU_NN_BACKEND` sets the choice a process starts with.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from reprlib import repr as short
from typing import Literal, get_args

import torch

Backend = Literal["kernels", "triton", "reference"]
Choice = Literal["auto", "kernels", "triton", "reference"]

VARIABLE = "SRU_NN_BACKEND"
# The devices each backend supports. On a CPU Triton runs in its interpreter, for tests: "auto" skips it.
_DEVICES = {"kernels": ("cpu", "cuda"), "triton": ("cpu", "cuda", "xpu")}
_AUTO: dict[str, tuple[Backend, ...]] = {
    "cpu": ("kernels",),
    "cuda": ("kernels", "triton"),
    "xpu": ("triton",),
}
_PACKAGES = {"kernels": "sru-kernels", "triton": "Triton"}
_MISSING = {
    "kernels": "the package sru-kernels is not installed (pip install sru-nn[kernels])",
    "triton": "Triton is not installed (pip install triton)",
}
# The first release that can carry a tuple through a loop; it came with torch 2.7.
_OLDEST_TRITON, _OLDEST_GPU = (3, 3), (7, 5)


def _checked(choice: object, source: str) -> Choice:
    if not isinstance(choice, str) or choice not in get_args(Choice):
        raise ValueError(f"{source} must be one of {', '.join(get_args(Choice))}, got {short(choice)}")
    return choice  # type: ignore[return-value]


_default: Choice = _checked(os.environ.get(VARIABLE, "auto"), f"the environment variable {VARIABLE}")
_choice: ContextVar[Choice | None] = ContextVar("sru_nn.backend", default=None)
_installed = {
    "kernels": importlib.util.find_spec("sru_kernels") is not None,
    "triton": importlib.util.find_spec("triton") is not None,
}
# Why a backend cannot run on a device, or None; filled in when a device is first used.
_problems: dict[str, dict[torch.device, str | None]] = {"kernels": {}, "triton": {}}
_warned: set[torch.device] = set()


def choose(choice: Choice) -> None:
    """Choose the implementation for the whole process; `with using(...)` overrides it.

    Args:
        choice: `"auto"`, `"kernels"` or `"triton"` (an error if they cannot run) or `"reference"`.

    Raises:
        ValueError: The choice is not one of the four.
    """
    global _default
    _default = _checked(choice, "backend.choose: choice")


@contextlib.contextmanager
def using(choice: Choice) -> Iterator[None]:
    """Choose the implementation for a `with` block, in this thread or asynchronous task only.

    A backward pass uses the implementation of its forward pass, wherever it is started. A compiled graph
    chooses when it runs: put the block around the call, since a block inside has no effect.

    Args:
        choice: As for `choose`.

    Raises:
        ValueError: The choice is not one of the four.
    """
    _checked(choice, "backend.using: choice")
    if torch.compiler.is_dynamo_compiling():  # it cannot trace context variables
        yield
        return
    token = _choice.set(choice)
    try:
        yield
    finally:
        _choice.reset(token)


def _current() -> Choice:
    return _choice.get() or _default


# Like torch.compiler.assume_constant_result, without the seconds it takes to import the compiler.
_current._dynamo_marked_constant = True  # type: ignore[attr-defined]


def active(device: torch.device | str = "cpu") -> Backend:
    """Return the implementation that would run a recurrence on a device now.

    Args:
        device: The device of the tensors.

    Raises:
        RuntimeError: The choice is `"kernels"` or `"triton"` and they cannot run there; the message says why.
        ValueError: `device` is not a valid device.
    """
    choice = _current()
    if not isinstance(device, torch.device):
        device = _device(device)
    if choice == "reference":
        return "reference"
    if choice != "auto":
        problem = _problem(choice, device)
        if problem is not None:
            raise RuntimeError(
                f"the backend '{choice}' was chosen, but {problem}; choose 'auto' or 'reference'"
            )
        return choice
    candidates = _AUTO.get(device.type, ())
    for candidate in candidates:
        if _problem(candidate, device) is None:
            return candidate
    _warn(device, candidates)
    return "reference"


def _device(name: str) -> torch.device:
    try:
        return torch.device(name)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(
            f"backend.active: device must be a torch.device or its name, got {short(name)}"
        ) from None


def _problem(name: Backend, device: torch.device) -> str | None:
    """Return why a backend cannot run on a device, or None; each device is examined once."""
    problems = _problems[name]
    if device in problems:
        return problems[device]
    if device.type not in _DEVICES[name]:
        return f"{_PACKAGES[name]} has no kernels for {device.type} tensors"
    if not _installed[name]:
        return _MISSING[name]
    # A compiler cannot trace an import; the operator itself reports the problem when it first runs.
    if torch.compiler.is_compiling():
        return None
    problems[device] = _kernels_problem(device) if name == "kernels" else _triton_problem(device)
    return problems[device]


def _warn(device: torch.device, candidates: tuple[Backend, ...]) -> None:
    """Warn once per device that a faster backend could be installed, if there is one to try."""
    if torch.compiler.is_compiling() or device in _warned:
        return
    _warned.add(device)
    # On a CPU without the kernels the reference is deliberate: users who want the kernels install them.
    if not candidates or (device.type == "cpu" and not _installed["kernels"]):
        return
    reasons = " and ".join(str(_problem(name, device)) for name in candidates)
    warnings.warn(
        f"sru_nn runs its slower reference operators on {device.type} tensors, because {reasons}; "
        f"fix that, or set {VARIABLE}=reference to silence this warning",
        stacklevel=4,
    )


def _kernels_problem(device: torch.device) -> str | None:
    if device.type == "cuda" and torch.version.hip is not None:  # ROCm devices are called cuda too
        return "this PyTorch is built for ROCm, for which sru-kernels has no kernels"
    try:
        kernels = importlib.import_module("sru_kernels")
    except ImportError as error:
        return f"the installed package sru-kernels cannot be imported: {error}"
    if device.type == "cpu":
        return None
    index = torch.cuda.current_device() if device.index is None else device.index
    return kernels.cuda.problem(index)  # type: ignore[no-any-return]


def _triton_problem(device: torch.device) -> str | None:
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if device.type == "cpu" and not interpreted:
        return "Triton runs cpu tensors in its interpreter only (start Python with TRITON_INTERPRET=1)"
    try:
        triton = importlib.import_module("triton")
    except ImportError as error:
        return f"the installed Triton cannot be imported: {error}"
    version = triton.__version__
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _OLDEST_TRITON:
        oldest = ".".join(map(str, _OLDEST_TRITON))
        return f"Triton {version} is too old (pip install 'triton>={oldest}', or torch 2.7 or newer)"
    if interpreted:
        return None
    try:
        triton.runtime.driver.active.get_current_target()
    except Exception as error:  # each driver raises its own errors
        return f"Triton {version} cannot use the GPU: {error}"
    if device.type == "cuda" and torch.version.hip is None:
        major, minor = torch.cuda.get_device_capability(device)
        if (major, minor) < _OLDEST_GPU:
            return f"Triton needs compute capability 7.5, this GPU has {major}.{minor}"
    return None
