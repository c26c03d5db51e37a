"""Predictions for a CUDA kernel from its machine code, bytes moved and vendors' figures, without timing."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support.cuda_kernels import CudaKernel

PACKAGE = Path(__file__).resolve().parents[1]
WARP = 32
BLOCK = 128
SCHEDULERS = 4  # per multiprocessor; each issues one instruction per cycle
REGISTERS = 65_536  # per multiprocessor, on every architecture here
REGISTER_UNIT = 256  # registers are allocated to a warp in multiples of this
RESERVED = 1024  # bytes of shared memory that CUDA reserves per block, since compute capability 8.0
NANOSECONDS = (600, 1000)  # assumed latencies of global memory
SHAPES = ((128, 32, 512), (512, 16, 256), (1024, 1, 1024), (256, 32, 1024))  # (T, B, D)
HEAD = 64  # keys and values of a gated linear head
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Multiprocessor:
    """CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"."""

    warps: int
    blocks: int
    shared: int  # bytes


MULTIPROCESSORS = {
    "75": Multiprocessor(32, 16, 64 << 10),
    "80": Multiprocessor(64, 32, 164 << 10),
    "86": Multiprocessor(48, 16, 100 << 10),
    "89": Multiprocessor(48, 24, 100 << 10),
    "90": Multiprocessor(64, 32, 228 << 10),
    "100": Multiprocessor(64, 32, 228 << 10),
    "110": Multiprocessor(48, 24, 228 << 10),
    "120": Multiprocessor(48, 24, 100 << 10),
}


@dataclass(frozen=True)
class Gpu:
    """A GPU with its vendor's figures."""

    name: str
    architecture: str
    multiprocessors: int
    bandwidth: float  # bytes per second
    clock: float  # Hz, boost


GPUS = (
    Gpu("T4", "75", 40, 320e9, 1.59e9),
    Gpu("A100 40 GB", "80", 108, 1555e9, 1.41e9),
    Gpu("RTX 3090", "86", 82, 936e9, 1.70e9),
    Gpu("RTX 4090", "89", 128, 1008e9, 2.52e9),
    Gpu("H100 SXM", "90", 132, 3350e9, 1.98e9),
    Gpu("B200", "100", 148, 8000e9, 1.96e9),
    Gpu("RTX 5090", "120", 170, 1792e9, 2.41e9),
)


def latencies(architecture: str) -> dict[str, float]:
    """NANOSECONDS in clock cycles of an architecture's GPU, and 0 for memory without latency."""
    clocks = [gpu.clock for gpu in GPUS if gpu.architecture == architecture]
    return {"0 ns": 0.0, **{f"{time} ns": time * 1e-9 * clock for clock in clocks for time in NANOSECONDS}}


def constant(file: str, name: str) -> int:
    """A number in the sources, from the line `constexpr TYPE name = NUMBER;`."""
    found = re.search(rf"constexpr \w+ {name} = (\d+);", (PACKAGE / "src" / file).read_text())
    if found is None:
        sys.exit(f"cuda_model: {file} has no constexpr {name}")
    return int(found[1])


def kernel_of(row: Row) -> CudaKernel:
    """The kernel of a row of the report."""
    return CudaKernel(**row["kernel"])


def threads_per_block(kernel: CudaKernel) -> int:
    """The number of threads of the largest block."""
    return BLOCK if kernel.threads == 1 else WARP * kernel.threads


def blocks_by_registers(row: Row, warps: int) -> int:
    """Blocks of `warps` warps per multiprocessor, as limited by registers."""
    per_warp = -(-row["registers"] * WARP // REGISTER_UNIT) * REGISTER_UNIT
    return int(REGISTERS // per_warp // warps)


def resident_warps(row: Row) -> int:
    """Warps per multiprocessor, as limited by registers, shared memory and the architecture."""
    limits = MULTIPROCESSORS[row["architecture"]]
    warps = threads_per_block(kernel_of(row)) // WARP
    blocks = min(blocks_by_registers(row, warps), limits.blocks, limits.warps // warps)
    if row["shared"]:
        blocks = min(blocks, limits.shared // (row["shared"] + RESERVED))
    return blocks * warps


def chosen(rows: Sequence[Row], function: str, dtype: str, shape: Sequence[int], gpu: Gpu) -> Row:
    """The kernel that the launcher uses for dense arrays of a shape, by the rules of `launch.cpp`.

    If the launcher uses small blocks, the row has the figures of their longer rings.
    """
    length, batch, size = shape
    columns = batch * size
    enough, few = (constant("runtime/cuda/launch.cpp", name) for name in ("enough_threads", "few_columns"))
    fitting = {}
    for row in rows:
        kernel = kernel_of(row)
        wanted = CudaKernel(function, dtype, kernel.columns, kernel.in_ring, threads=kernel.threads)
        if kernel != wanted or row["architecture"] != gpu.architecture:
            continue
        if kernel.threads > 1:
            if columns < few * gpu.multiprocessors and length >= row["steps"]:
                fitting[3] = row
        elif not kernel.in_ring:
            fitting[0] = row
        elif int(gpu.architecture) >= 80 and size % (WARP * kernel.columns) == 0:
            if kernel.columns == 1:
                fitting[1] = row
            elif columns // kernel.columns >= enough * gpu.multiprocessors:
                fitting[2] = row
    row = fitting[max(fitting)]
    if "in_small_blocks" in row and columns // kernel_of(row).columns <= BLOCK * (gpu.multiprocessors - 1):
        return {**row, **row["in_small_blocks"]}
    return row


@dataclass(frozen=True)
class Prediction:
    """Bounds on the time of a kernel, in seconds."""

    memory: float  # moving the bytes at full bandwidth
    issue: float  # issuing the instructions of all warps of the busiest multiprocessor
    latency: float  # a warp that waits for global memory where the machine code waits
    chain: float  # the same without memory latency: the dependency chain from state to state

    @property
    def fraction(self) -> float:
        """The largest share of the bandwidth that the bounds allow."""
        return self.memory / max(self.memory, self.issue, self.latency, self.chain)

    @property
    def bound(self) -> str:
        """The name of the tightest bound."""
        if self.fraction == 1:
            return "memory"
        if self.issue >= self.latency:
            return "issue"
        return "chain" if self.latency < 1.1 * self.chain else "latency"


def predict(row: Row, shape: Sequence[int], gpu: Gpu, latency: str) -> Prediction:
    """The bounds for a kernel on a shape."""
    length, batch, size = shape
    kernel = kernel_of(row)
    columns = batch * size
    warps = columns / (WARP * kernel.columns) * kernel.threads
    turns = max(1.0, warps / (resident_warps(row) * gpu.multiprocessors))
    groups = math.ceil(columns / (WARP * kernel.columns) / gpu.multiprocessors)  # on the busiest one
    per_scheduler = groups / SCHEDULERS if kernel.threads > 1 else math.ceil(groups / SCHEDULERS)
    moved = kernel.read() + kernel.written()
    step = length / gpu.clock
    return Prediction(
        memory=length * columns * moved / gpu.bandwidth,
        issue=step * per_scheduler * row["instructions"],
        latency=step * turns * row[latency],
        chain=step * turns * row["0 ns"],
    )


def kibibytes_ahead(row: Row, shape: Sequence[int], gpu: Gpu) -> float:
    """KiB that a multiprocessor has in flight, averaged over the GPU."""
    kernel = kernel_of(row)
    _, batch, size = shape
    resident = resident_warps(row) * WARP * kernel.columns / kernel.threads
    columns = min(batch * size / gpu.multiprocessors, resident)
    return columns * row["steps_ahead"] * kernel.read() / 1024


def gated_blocks(row: Row) -> int:
    """The minimum number of blocks of a gated linear kernel per multiprocessor, for K = V = HEAD.

    Registers and shared memory limit it. A block uses at most 48 KiB of shared memory, or 34 KiB plus its
    copies in backward on tensor cores.
    """
    kernel = kernel_of(row)
    limits = MULTIPROCESSORS[row["architecture"]]
    warps, shared = 4, 48 << 10
    if kernel.function == "gated_linear_backward" and kernel.option:
        warps, shared = 8, (34 << 10) + kernel.chunk_bytes(HEAD, HEAD)
    return min(blocks_by_registers(row, warps), limits.shared // (shared + RESERVED))


def gated_kibibytes_ahead(row: Row) -> float:
    """KiB that a multiprocessor has in flight in a gated linear kernel: the next chunk of each block."""
    return gated_blocks(row) * kernel_of(row).chunk_bytes(HEAD, HEAD) / 1024
