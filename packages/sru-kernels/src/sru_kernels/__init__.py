"""Compiled kernels for recurrent networks. This package never imports torch and needs no GPU.

`sru_kernels.cpu` and `sru_kernels.cuda` contain the kernels. They take addresses and sizes (`SruForward`,
`GatedLinearForward` and the like) and cannot check the memory at an address, so call them through `sru_nn`
unless you manage that memory yourself.
`build_info()` returns how the extension was built; `python -m sru_kernels` prints it.
"""

from __future__ import annotations

from typing import TypedDict, cast

from . import _native, cpu, cuda
from ._native import Activation, DType, __version__
from .gated_linear import GatedLinearBackward, GatedLinearForward
from .ligru import LigruBackward, LigruForward
from .sru import SruBackward, SruForward, SruStep

__all__ = [
    "Activation",
    "BuildInfo",
    "DType",
    "GatedLinearBackward",
    "GatedLinearForward",
    "LigruBackward",
    "LigruForward",
    "SruBackward",
    "SruForward",
    "SruStep",
    "__version__",
    "build_info",
    "cpu",
    "cuda",
]


class BuildInfo(TypedDict):
    """How the extensions were built, and what they found on this machine."""

    version: str
    """Of this package."""
    compiler: str
    """Name and version."""
    cxx_standard: int
    """Such as 17."""
    instruction_set: str
    """What `sru_kernels.cpu.instruction_set` returns."""
    openmp: str | None
    """The file of the OpenMP runtime that starts the threads: torch's if torch was imported first, otherwise
    the system's. If None, the CPU kernels run on one thread."""
    max_threads: int
    """How many threads OpenMP starts by default."""
    cuda: cuda.BuildInfo | None
    """What `sru_kernels.cuda.build_info` returns."""


def build_info() -> BuildInfo:
    """Return how the extensions were built, and what they found on this machine.

    Raises:
        ValueError: As for `sru_kernels.cpu.instruction_set`.
    """
    return cast(BuildInfo, {**_native.build_info(), "cuda": cuda.build_info()})
