"""The page docs/benchmarks/cuda-kernels.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cuda_model import (
    BLOCK,
    GPUS,
    MULTIPROCESSORS,
    WARP,
    Gpu,
    Kernel,
    fraction_of_bandwidth,
    is_wide,
    resident_warps,
)

SHAPE = (128, 32, 512)
LATENCIES = (600e-9, 1000e-9)
Row = Mapping[str, Any]

COMPILER = f"""## Registers and occupancy

Registers per thread and, in brackets, the resident warps per multiprocessor that they allow out of the
architecture's maximum. This assumes blocks of {BLOCK} threads, 65,536 registers per multiprocessor and
allocation in units of 256 registers per warp (CUDA C++ Programming Guide, "Technical Specifications per
Compute Capability"). The tests compile for the oldest and the newest architecture and fail if a kernel
needs more registers than listed here, spills, or uses shared memory. Sequences of different lengths
(`cu_seqlens`) have kernels of their own: their threads count their own steps.
"""
TRAFFIC = f"""## Memory traffic

Bytes per step and column, with K = 3, a highway input x and, in forward, the states saved for backward.
Forward has to read u_c, u_f, u_r and x and to write h and c. Backward has to read those four, grad_h and
the previous state, and to write grad_u and grad_x. The kernels read each of these once: the state of a step
stays in registers for the next one. Once per column they also move v, bias, c0, mask_c and the last state
(in backward the gradients of these too), and one byte of marks per row and step. The last column
includes that, at {SHAPE}. The threads of a warp own adjacent columns, so every fetched sector is used in
full.
"""
FLIGHT = """## Bytes in flight

A thread loads several steps ahead of the one it computes. Its loads in flight amount to steps ahead ·
columns · bytes read. The columns on the right give the KiB in flight on a fully occupied multiprocessor. A
GPU needs bandwidth · latency bytes in flight: 15 KiB per multiprocessor on an H100 SXM at 600 ns. With
`cu_seqlens` backward reads one step less ahead.
"""
PREDICTIONS = """## Predicted bandwidth for (T, B, D) = {shape}: not measured on any GPU

By Little's law, memory can be read at most at bytes in flight / latency. With F bytes in flight on the whole
GPU, R bytes read and W written per step and column, latency L and bandwidth M, a kernel can use

    min(1, F / L · (R + W) / R / M)

of the bandwidth. L is an assumption: {low} and {high}. Microbenchmarks report 400 to 600 cycles, about
300 ns, for one access to idle memory (for example Luo et al., 2024, arXiv:2402.13499); queueing in a nearly
saturated memory system adds to that. M and the number of multiprocessors are the vendor's figures. The
launcher picks a wide kernel only if it still leaves every multiprocessor {block} threads.

These are upper bounds. They leave out the launch and the first loads, a few microseconds, and arithmetic:
each step depends on the one before, and a multiprocessor with only four warps has little else to do in the
meantime.
"""
SANITIZER = """## Checks on a GPU

compute-sanitizer, part of the CUDA toolkit, checks kernels on a real GPU. It has not been run for this page.
In an environment made by `nox -s tests-gpu`:

    compute-sanitizer --error-exitcode 1 --tool memcheck  python -m pytest -m gpu packages/sru-kernels
    compute-sanitizer --error-exitcode 1 --tool initcheck python -m pytest -m gpu packages/sru-kernels
    compute-sanitizer --error-exitcode 1 --tool racecheck python -m pytest -m gpu packages/sru-kernels
    compute-sanitizer --error-exitcode 1 --tool synccheck python -m pytest -m gpu packages/sru-kernels

Set `PYTORCH_NO_CUDA_MEMORY_CACHING=1`. Otherwise torch carves its tensors out of large blocks, and memcheck
cannot see an access that runs from one tensor into the next. The kernels use neither shared memory nor
barriers, so racecheck and synccheck have little to find."""


def page(facts: Row, rows: Sequence[Row], kernels: Sequence[Kernel]) -> Iterator[str]:
    """The lines of the page.

    Args:
        facts: The compiler and the machine.
        rows: The report of ptxas, one row per kernel and architecture.
        kernels: Each kernel of dense arrays once.
    """
    registers = {(_name(row), row["architecture"]): row["registers"] for row in rows}
    yield "# The CUDA kernels\n"
    yield (
        "Written by `nox -s cuda-report`: "
        + ", ".join(f"{key} {value}" for key, value in facts.items())
        + ".\n"
    )
    yield COMPILER
    yield from _compiler_table(rows, registers)
    yield TRAFFIC
    yield from _traffic_table(kernels)
    yield FLIGHT
    yield from _flight_table(kernels, registers)
    low, high = (f"{1e9 * latency:.0f} ns" for latency in LATENCIES)
    yield PREDICTIONS.format(shape=SHAPE, low=low, high=high, block=BLOCK)
    yield from _prediction_table(kernels, registers, (low, high))
    yield SANITIZER


def _head(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |\n" + "| --- " * len(cells) + "|"


def _name(row: Row) -> str:
    name = Kernel(row["function"], row["dtype"], row["columns"], 0).name
    return f"{name}, `cu_seqlens`" if row["ragged"] else name


def _compiler_table(rows: Sequence[Row], registers: Mapping) -> Iterator[str]:
    bad = sorted(
        {f"{row['function']} on sm_{row['architecture']}" for row in rows if row["spills"] or row["shared"]}
    )
    if bad:
        yield f"**These spill registers or use shared memory: {', '.join(bad)}.**\n"
    else:
        yield "No kernel spills registers or uses shared memory on any of these architectures.\n"
    yield _head("kernel", *(f"sm_{name}" for name in MULTIPROCESSORS))
    for kernel in dict.fromkeys(map(_name, rows)):
        cells = []
        for name, limits in MULTIPROCESSORS.items():
            used = registers[kernel, name]
            cells.append(f"{used} ({resident_warps(used, name)}/{limits.warps})")
        yield f"| {kernel} | " + " | ".join(cells) + " |"
    yield ""


def _traffic_table(kernels: Sequence[Kernel]) -> Iterator[str]:
    length, _, hidden_size = SHAPE
    yield _head("function", "dtype", "reads", "writes", "minimum", "moved")
    for kernel in kernels:
        if kernel.columns == 1:
            must = kernel.read() + kernel.written()
            moved = kernel.moved(length, hidden_size)
            yield (
                f"| {kernel.function} | {kernel.dtype} | {kernel.read()} | {kernel.written()} | {must} "
                f"| {moved:.2f} ({100 * (moved / must - 1):+.1f} %) |"
            )
    yield ""


def _flight_table(kernels: Sequence[Kernel], registers: Mapping) -> Iterator[str]:
    yield _head("kernel", "steps ahead", "bytes per thread", *(f"sm_{name}" for name in MULTIPROCESSORS))
    for kernel in kernels:
        full = [
            resident_warps(registers[kernel.name, name], name) * WARP * kernel.in_flight() / 1024
            for name in MULTIPROCESSORS
        ]
        cells = (kernel.name, str(kernel.depth), str(kernel.in_flight()), *(f"{kib:.0f}" for kib in full))
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _prediction_table(
    kernels: Sequence[Kernel], registers: Mapping, latencies: tuple[str, str]
) -> Iterator[str]:
    yield _head(
        "GPU",
        "kernel",
        "threads",
        "KiB in flight per multiprocessor",
        *(f"predicted, {name}" for name in latencies),
    )
    for gpu in GPUS:
        for function in ("sru_forward", "sru_backward"):
            for dtype in ("float32", "bfloat16"):
                narrow, wide = sorted(
                    (kernel for kernel in kernels if (kernel.function, kernel.dtype) == (function, dtype)),
                    key=lambda kernel: kernel.columns,
                )
                chosen = wide if is_wide(SHAPE[1] * SHAPE[2], wide.columns, gpu.multiprocessors) else narrow
                yield _prediction(gpu, chosen, registers[chosen.name, gpu.architecture])
    yield ""


def _prediction(gpu: Gpu, kernel: Kernel, registers: int) -> str:
    threads = SHAPE[1] * SHAPE[2] // kernel.columns
    resident = min(threads / gpu.multiprocessors, resident_warps(registers, gpu.architecture) * WARP)
    fractions = (fraction_of_bandwidth(kernel, threads, gpu, registers, latency) for latency in LATENCIES)
    cells = (
        *(gpu.name, kernel.name, f"{threads:,}", f"{resident * kernel.in_flight() / 1024:.1f}"),
        *(f"{100 * fraction:.0f} %" for fraction in fractions),
    )
    return "| " + " | ".join(cells) + " |"
