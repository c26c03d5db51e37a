"""Compiles the Triton kernels that a call launches, for a GPU that need not be present."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase
from triton.compiler import ASTSource, CompiledKernel

TARGETS = {
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}


class Compiled(NamedTuple):
    """A kernel compiled for a GPU."""

    name: str
    registers: int
    """Registers per thread."""
    spilled: int
    """Bytes of stack per thread, for values without a register."""
    assembly: str
    """PTX or AMD's assembly."""


class _Driver(DriverBase):
    """Stands in for the driver of a GPU: Triton asks it what to compile for."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target

    def is_active(self) -> bool:
        return True

    def map_python_to_cpp_type(self, ty: str) -> str:
        raise NotImplementedError

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_active_torch_device(self) -> Any:
        raise NotImplementedError

    def get_benchmarker(self) -> Any:
        raise NotImplementedError

    def get_current_device(self) -> GPUTarget:
        return self.target  # the key of Triton's caches, usually the number of a device

    def get_current_stream(self, device: Any) -> int:
        return 0


def compile_launches(call: Callable[[], Any], target: str) -> list[Compiled]:
    """Compile the kernels that a call on CPU tensors launches, for its arguments; none of them runs.

    Args:
        call: Launches kernels.
        target: A key of `TARGETS`.
    """
    assert not triton.knobs.runtime.interpret, "the interpreter compiles nothing: unset TRITON_INTERPRET"
    gpu, driver, launches = TARGETS[target], triton.runtime.driver, []

    def keep(*, fn: Any, compile: dict[str, Any], **_: Any) -> bool:
        source = ASTSource(fn.jit_function, compile["signature"], compile["constants"], compile["configs"][0])
        options = {
            name: compile[name] for name in ("num_warps", "num_ctas", "num_stages", "enable_fp_fusion")
        }
        launches.append((source, options))
        return True  # neither compile nor launch it now

    before, triton.knobs.runtime.jit_cache_hook = driver._active, keep
    driver.set_active(_Driver(gpu))
    try:
        call()
        return [_read(triton.compile(source, gpu, options)) for source, options in launches]
    finally:
        triton.knobs.runtime.jit_cache_hook, driver._active = None, before


def _read(kernel: CompiledKernel) -> Compiled:
    if "amdgcn" in kernel.asm:
        assembly = kernel.asm["amdgcn"]
        registers, spilled = (
            int(re.search(rf"^\s*\.{key}:\s*(\d+)", assembly, re.MULTILINE)[1])
            for key in ("vgpr_count", "private_segment_fixed_size")
        )
        return Compiled(kernel.metadata.name, registers, spilled, assembly)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(kernel.asm["cubin"])
        cubin.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", cubin.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"\b(REG|STACK|LOCAL):(\d+)", usage))
    spilled = int(found["STACK"]) + int(found["LOCAL"])
    return Compiled(kernel.metadata.name, int(found["REG"]), spilled, kernel.asm["ptx"])
