"""What this build of the package holds, over both of its extensions."""

from __future__ import annotations

from typing import TypedDict

from . import _native, cuda


class BuildInfo(TypedDict):
    """What the extensions were built with and found on this machine."""

    version: str
    """Of this package."""
    compiler: str
    """Name and version."""
    cxx_standard: int
    """Such as 17."""
    instruction_set: str
    """What `sru_kernels.cpu.instruction_set` returns."""
    openmp: str | None
    """The file of the OpenMP runtime that starts the threads: torch's if torch was imported before, else the
    system's; None if there is none and the CPU kernels run on one thread."""
    max_threads: int
    """How many threads OpenMP would start by itself."""
    cuda: cuda.BuildInfo | None
    """What `sru_kernels.cuda.build_info` returns."""


def build_info() -> BuildInfo:
    """Say what the extensions were built with and found on this machine.

    Raises:
        ValueError: As `sru_kernels.cpu.instruction_set` does.
    """
    return {**_native.build_info(), "cuda": cuda.build_info()}
