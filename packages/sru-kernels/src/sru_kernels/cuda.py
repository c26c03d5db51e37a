"""Kernels that run on NVIDIA GPUs. They take addresses in device memory and run in the caller's stream.

The CUDA extension is loaded at first use, so this module can be imported without a GPU or driver, and in a
build without CUDA; `problem` returns why the kernels cannot run. `sru_kernels.sru`,
`sru_kernels.gated_linear` and `sru_kernels.ligru` document what the addresses must hold.
The kernels neither allocate nor wait, so a CUDA graph can capture them.
"""

from __future__ import annotations

import functools
import importlib
import os
from types import ModuleType
from typing import Any, NamedTuple, Protocol, TypedDict, TypeVar

from ._native import DType
from .gated_linear import GatedLinearBackward, GatedLinearForward
from .ligru import LigruBackward, LigruForward
from .sru import SruBackward, SruForward

__all__ = [
    "BuildInfo",
    "Device",
    "Error",
    "Launcher",
    "build_info",
    "devices",
    "driver_version",
    "gated_linear_backward",
    "gated_linear_fits",
    "gated_linear_forward",
    "ligru_backward",
    "ligru_forward",
    "problem",
    "sru_backward",
    "sru_forward",
]


_Arguments = TypeVar("_Arguments", contravariant=True)


class Error(RuntimeError):
    """CUDA reported an error, or this build has no CUDA. For a failed launch it names the shape and dtype."""


class BuildInfo(TypedDict):
    """What the CUDA kernels were built with."""

    toolkit: str
    """The version of the CUDA toolkit, such as "13.0"."""
    architectures: list[str]
    """"sm_90" for machine code for compute capability 9.0, "compute_120" for PTX for 12.0, in this order."""
    runtime: str
    """"static" or "shared": how the CUDA runtime is linked."""


class Device(NamedTuple):
    """A GPU that is visible to CUDA."""

    index: int  # type: ignore[assignment]  # hides the method of tuples
    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    memory: int
    """In bytes."""


@functools.cache
def _extension() -> ModuleType:
    try:
        return importlib.import_module("sru_kernels._cuda")
    except ModuleNotFoundError:
        raise Error("this build of sru-kernels holds no CUDA kernels") from None
    except ImportError as error:
        raise Error(f"the CUDA kernels cannot be loaded: {error}") from error


def build_info() -> BuildInfo | None:
    """Return how the CUDA kernels were built; None if there are none, or they cannot be loaded."""
    try:
        extension = _extension()
    except Error:
        return None
    return {
        "toolkit": extension.toolkit,
        "architectures": extension.architectures.split(),
        "runtime": extension.runtime,
    }


def driver_version() -> str | None:
    """Return the newest CUDA version that the driver supports, such as "13.0"; None without a driver.

    Raises:
        Error: This build has no CUDA kernels, or they cannot be loaded.
    """
    version = _extension().driver_version()
    return f"{version // 1000}.{version % 1000 // 10}" if version else None


def devices() -> list[Device]:
    """Return the GPUs that are visible to CUDA.

    Raises:
        Error: No GPU is visible, CUDA does not start, or this build has no CUDA kernels.
    """
    return [Device(index, *facts) for index, facts in enumerate(_extension().devices())]


def problem(device: int = 0) -> str | None:
    """Return why the kernels cannot run on a device, as a clause without a full stop; None if they can.

    Args:
        device: The CUDA index of the device.
    """
    try:
        driver = driver_version()
        info = build_info()
        assert info is not None  # otherwise the previous line would have raised
        if driver is None:
            return "no NVIDIA driver was found on this machine"
        # A driver supports builds by a toolkit of its own major version or an older one.
        if int(driver.split(".")[0]) < (needed := int(info["toolkit"].split(".")[0])):
            return (
                f"the driver supports CUDA {driver}, but this build of sru-kernels needs {needed}.0 or newer"
                "; update the driver"
            )
        found = devices()
    except Error as error:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return str(error) if visible is None else f"{error}; CUDA_VISIBLE_DEVICES is {visible!r}"
    if not 0 <= device < len(found):
        return f"there is no CUDA device {device}: CUDA sees {len(found)}, counted from 0"
    _, name, capability, *_ = found[device]
    if not any(_runs_on(architecture, capability) for architecture in info["architectures"]):
        return (
            f"device {device} ({name}) has compute capability {capability[0]}.{capability[1]}, "
            f"but this build of sru-kernels holds {', '.join(info['architectures'])}"
        )
    return None


def _runs_on(architecture: str, capability: tuple[int, int]) -> bool:
    """Whether a device runs this code: machine code for its major and no newer minor version, or older PTX.

    Code for sm_100a runs on 10.0 only, code for sm_100f within the major version; the same holds for PTX.
    """
    kind, number = architecture.split("_")
    digits = number.rstrip("af")
    built_for = int(digits[:-1]), int(digits[-1])
    if number.endswith("a"):
        return built_for == capability
    is_portable = kind == "compute" and number == digits
    return built_for <= capability and (is_portable or built_for[0] == capability[0])


class Launcher(Protocol[_Arguments]):
    """A function that launches a kernel in a stream of a GPU."""

    def __call__(
        self,
        args: _Arguments,
        *,
        device: int,
        stream: int,
        columns_per_thread: int = 0,
        threads_per_column: int = 0,
    ) -> None:
        """Launch the kernel in a stream.

        Args:
            args: Sizes, and addresses in the memory of the device.
            device: The CUDA index of the device.
            stream: The `cudaStream_t` to launch the kernel in; 0 is the default stream.
            columns_per_thread: How many adjacent columns of N·D a thread owns: 1, or as many values of the
                storage dtype as fit into 16 bytes. The latter needs a hidden size divisible by 32 times that
                number, arrays aligned to 16 bytes, no v per position and compute capability 8.0. 0 lets the
                kernel choose; the kernels of the gated linear RNN and the light GRU always choose. It does
                not affect the result.
            threads_per_column: How many threads share a column, each processing some of the steps: 1, or 5
                in `sru_forward` and 8 in `sru_backward`. More than 1 needs one column per thread and no v
                per position. 0 lets the kernel choose, and means 1 if `columns_per_thread` is given. It
                affects the rounding of gradients, but not the outputs.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: As for the function of the same name in `sru_kernels.cpu`, or if
                `columns_per_thread` or `threads_per_column` is invalid, or a head does not fit
                (`gated_linear_fits`).
            Error: The launch failed, or this build has no CUDA kernels.
        """


def _launcher(name: str) -> Launcher[Any]:
    def launch(
        args: Any, *, device: int, stream: int, columns_per_thread: int = 0, threads_per_column: int = 0
    ) -> None:
        getattr(_extension(), name)(args, device, stream, columns_per_thread, threads_per_column)

    launch.__name__ = launch.__qualname__ = name
    launch.__doc__ = Launcher.__call__.__doc__
    return launch


sru_forward: Launcher[SruForward] = _launcher("sru_forward")
"""Run the SRU recurrence as `sru_kernels.cpu.sru_forward` does, on a GPU."""
sru_backward: Launcher[SruBackward] = _launcher("sru_backward")
"""Write the gradients of `sru_forward` as `sru_kernels.cpu.sru_backward` does, on a GPU."""
gated_linear_forward: Launcher[GatedLinearForward] = _launcher("gated_linear_forward")
"""Run linear attention with a gate for each key as `sru_kernels.cpu.gated_linear_forward` does, on a GPU."""
gated_linear_backward: Launcher[GatedLinearBackward] = _launcher("gated_linear_backward")
"""Write the gradients of `gated_linear_forward` as `sru_kernels.cpu.gated_linear_backward` does, on a GPU."""
ligru_forward: Launcher[LigruForward] = _launcher("ligru_forward")
"""Run the light GRU as `sru_kernels.cpu.ligru_forward` does, on a GPU, in `scratch`."""
ligru_backward: Launcher[LigruBackward] = _launcher("ligru_backward")
"""Write the gradients of `ligru_forward` as `sru_kernels.cpu.ligru_backward` does, on a GPU, in `scratch`."""


def gated_linear_fits(dtype: DType, key_size: int, value_size: int) -> bool:
    """Return whether the kernels of the gated linear RNN support heads of this size.

    The state of a head must fit into registers: at most 128 keys and 128 values, and 8192 numbers (4096 for
    float64) after both are rounded up to powers of two. False in a build without CUDA.

    Args:
        dtype: The storage dtype.
        key_size: K.
        value_size: V.
    """
    try:
        return _extension().gated_linear_fits(dtype, key_size, value_size)  # type: ignore[no-any-return]
    except Error:
        return False
