"""The page docs/benchmarks/cuda-kernels.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cuda_model import (
    BLOCK,
    GPUS,
    HEAD,
    MULTIPROCESSORS,
    NANOSECONDS,
    SHAPES,
    CudaKernel,
    chosen,
    constant,
    gated_blocks,
    gated_kibibytes_ahead,
    kernel_of,
    kibibytes_ahead,
    predict,
    resident_warps,
)
from gpu_page import summary
from support.read_ahead import LATENCIES, OTHER_LATENCY

SHOWN = ("80", "90", "100", "120")
DTYPES = ("float32", "bfloat16")
LATENCY = f"{NANOSECONDS[-1]} ns"
Row = Mapping[str, Any]

INTRODUCTION = """Each thread owns one column of the batch, or several adjacent ones, and walks over time with
the state in registers. There are four kinds of kernel. The launcher uses the first one that fits the shape:

| kind | how it reads | when it is used |
| --- | --- | --- |
| team | several threads share a column and read a tile of steps at once | at least a tile of steps, and \
fewer than {few} columns (B·N·D) per multiprocessor |
| wide ring | 16 bytes per thread and array, through a ring in shared memory | D is a multiple of 32 · \
columns, and there are at least {enough} threads per multiprocessor |
| ring | one column per thread, through a ring in shared memory | D is a multiple of 32 |
| registers | one column per thread, in chunks of steps | any other shape, `v` per position, compute \
capability 7.5 |

Each warp fills its own ring with `cp.async`, 16 bytes at a time, and waits only for the oldest group of
steps. Blocks have {block} threads, or fewer if there would otherwise be fewer blocks than multiprocessors;
the rings of smaller blocks are twice as long. In backward teams each thread processes a slice of a tile, and
the slices are composed in a fixed order. In forward teams one warp computes the chain of the forget gate
while the others compute r and h of the previous tile.
"""
TRAFFIC = """## Bytes

Bytes per step and column, with K = 3, a highway input x and, in the forward pass, states saved for the
backward pass. The forward kernels read u_c, u_f, u_r and x, and write h and c. The backward kernels read
these four arrays, grad_h and the previous state, and write grad_u and grad_x. Each value is moved once.
Parameters and first and last states (once per column) and marks (one byte per row and step) are not included.
"""
CODE = """## Machine code

`tests/support/cuda_kernels.py` extracts these figures from nvdisasm's output. Each cell lists:

* registers per thread, and the resident warps per multiprocessor that registers and shared memory allow;
* the minimum number of steps between a read and the instruction that waits for it; for rings, in full-size
  blocks and in smaller ones;
* instructions and issue cycles per step, for all columns of a thread, along the longest path through the main
  loop. For forward teams: the instructions of the chain and of the outputs, and the cycles of the chain.
"""
PREDICTIONS = """## Predicted shares of the bandwidth: not measured

These are upper bounds. Each cell is the smallest of four bounds, and names it:

* **memory**: the bytes above at the vendor's bandwidth.
* **issue**: the instructions of all warps on a multiprocessor; each of its four schedulers issues one per
  cycle.
* **latency**: a warp issues its instructions in order and stalls where the machine code waits, with a memory
  latency of {latency}. This latency is an assumption: one access to idle memory takes about 300 ns (Luo et
  al., 2024, arXiv:2402.13499), and queueing adds to that.
* **chain**: the same with no memory latency. A step starts from the previous state and goes through the
  forget gate's exponential and reciprocal. Neither bandwidth nor reading ahead shortens it.

The latency is assumed to be {shared} cycles for shared memory and {special} for special functions. Launches,
first reads, marks and barriers are ignored.
"""
GATED = """## The gated linear recurrence

A block keeps a state of K keys and V values in registers (in the forward pass possibly only some of the
values) and walks over time in chunks of 16 steps, or 8 in float64. It copies the next chunk with `cp.async`
while it computes the current one.

The products use tensor cores (`mma.sync` in tf32, with two terms for factors that do not fit in one) on GPUs
for data centers (compute capability 8.0, 9.0, 10.0, 11.0), for all types but float64 and, in the backward
pass, for K and V of at most 64.

Each cell lists the registers per thread; for K = V = {head}, the resident blocks per multiprocessor and the
KiB that they have in flight; and the share of the multiplications between the start of the copies and the
wait for them. The target is 16 KiB on sm_90: backward on tensor cores, with one block per multiprocessor,
reaches 12 in 16-bit types. The target is 32 KiB on sm_100: backward on tensor cores misses it in all types,
and the other kernels miss it in 16-bit types, except forward without tensor cores.
"""
LIGHT = """## The light GRU

A single launch processes all steps. Each block owns some columns of the recurrent weight, in shared memory if
they fit. The blocks wait for each other at every step, twice if there is a norm. Each cell lists the
registers per thread: with the columns in shared memory, and with the columns read again at every step.
"""
RAGGED = """## Sequences of different lengths

With `cu_seqlens`, a thread or team walks its sequence to the end, and a warp runs as long as the longest
sequence among its threads. If the hidden size is a multiple of 32 · columns per thread, all threads of a warp
belong to the same sequence.
"""
SANITIZER = """## Checks on a GPU

compute-sanitizer, part of the CUDA toolkit, checks kernels on a real GPU. It has not been run for this
page. To run it, in an environment made by `nox -s tests-gpu`, with each of the tools memcheck, initcheck,
racecheck and synccheck:

    export PYTORCH_NO_CUDA_MEMORY_CACHING=1
    compute-sanitizer --error-exitcode 1 --tool TOOL python -m pytest -m gpu packages/sru-kernels

Without that variable, torch allocates tensors within large blocks, and memcheck cannot detect an access
that runs from one tensor into the next."""


def page(facts: Row, rows: Sequence[Row], measured: Row | None) -> Iterator[str]:
    """The lines of the page.

    Args:
        facts: The compiler and the machine.
        rows: One row per kernel and architecture.
        measured: The results of `gpu_report.py`, if it has been run.
    """
    few, enough = (constant("runtime/cuda/launch.cpp", name) for name in ("few_columns", "enough_threads"))
    yield "# The CUDA kernels\n"
    yield f"Written by `nox -s cuda-report`: {', '.join(f'{key} {value}' for key, value in facts.items())}.\n"
    yield INTRODUCTION.format(few=few, enough=enough, block=BLOCK)
    yield TRAFFIC
    yield from _traffic()
    yield CODE
    yield from _code(rows)
    yield PREDICTIONS.format(latency=LATENCY, shared=LATENCIES["LDS"], special=OTHER_LATENCY)
    yield from _predictions(rows)
    yield GATED.format(head=HEAD)
    yield from _gated(rows)
    yield LIGHT
    yield from _light(rows)
    yield "## Measured\n"
    yield "Filled in by `gpu_report.py` on a machine with a GPU.\n"
    yield from summary(measured, SHAPES)
    yield ""
    yield RAGGED
    yield SANITIZER


def _head(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |\n" + "| --- " * len(cells) + "|"


def _kind(kernel: CudaKernel) -> str:
    if kernel.threads > 1:
        return f"team of {kernel.threads}"
    if not kernel.in_ring:
        return "registers, v per position" if kernel.v_varies else "registers"
    return "ring" if kernel.columns == 1 else f"ring, {kernel.columns} columns"


def _traffic() -> Iterator[str]:
    yield _head("function", "dtype", "reads", "writes")
    for function in ("sru_forward", "sru_backward"):
        for dtype in DTYPES:
            kernel = CudaKernel(function, dtype)
            yield f"| {function} | {dtype} | {kernel.read()} | {kernel.written()} |"
    yield ""


def _code(rows: Sequence[Row]) -> Iterator[str]:
    bad = sorted(
        {f"{row['kernel']['function']} on sm_{row['architecture']}" for row in rows if row["spills"]}
    )
    yield f"**These spill registers: {', '.join(bad)}.**\n" if bad else "No kernel spills registers.\n"
    yield _head("kernel", *(f"sm_{name}" for name in SHOWN))
    for kernel in dict.fromkeys(map(kernel_of, rows)):
        if kernel.function.startswith("sru_") and kernel.dtype in DTYPES:
            cells = [
                _cell(row)
                for name in SHOWN
                for row in rows
                if (kernel_of(row), row["architecture"]) == (kernel, name)
            ]
            yield f"| {kernel.function}, {kernel.dtype}, {_kind(kernel)} | " + " | ".join(cells) + " |"
    yield ""


def _cell(row: Row) -> str:
    most = MULTIPROCESSORS[row["architecture"]].warps
    ahead = f"{row['steps_ahead']:.0f}"
    if "in_small_blocks" in row:
        ahead += f" or {row['in_small_blocks']['steps_ahead']:.0f}"
    return (
        f"{row['registers']} ({resident_warps(row)}/{most} warps), {ahead} ahead, "
        f"{row['instructions']:.0f} in {row['cycles']:.0f}"
    )


def _predictions(rows: Sequence[Row]) -> Iterator[str]:
    yield _head("(T, B, D), dtype, function", *(gpu.name for gpu in GPUS))
    bounds = {gpu.name: set() for gpu in GPUS}
    for shape in SHAPES:
        for dtype in DTYPES:
            for function in ("sru_forward", "sru_backward"):
                cells = []
                for gpu in GPUS:
                    row = chosen(rows, function, dtype, shape, gpu)
                    bound = predict(row, shape, gpu, LATENCY)
                    bounds[gpu.name].add((shape, bound.bound))
                    cells.append(f"{bound.fraction:.0%} {bound.bound}")
                yield f"| {shape}, {dtype}, {function.removeprefix('sru_')} | " + " | ".join(cells) + " |"
    yield ""
    small = [gpu.name for gpu in GPUS if (SHAPES[0], "chain") in bounds[gpu.name]]
    if small:
        yield (
            f"At small batches such as {SHAPES[0]}, the chain of the forget gate is the limit, not memory, "
            f"on {', '.join(small)}: a multiprocessor has too few columns to hide it. Larger batches do.\n"
        )
    yield "KiB in flight per multiprocessor at the first shape, " + " and ".join(DTYPES) + ":\n"
    yield from _flight(rows)
    yield ""


def _flight(rows: Sequence[Row]) -> Iterator[str]:
    yield _head("GPU", "forward", "backward")
    for gpu in GPUS:
        cells = []
        for function in ("sru_forward", "sru_backward"):
            found = [chosen(rows, function, dtype, SHAPES[0], gpu) for dtype in DTYPES]
            cells.append(" and ".join(f"{kibibytes_ahead(row, SHAPES[0], gpu):.0f}" for row in found))
        yield f"| {gpu.name} | " + " | ".join(cells) + " |"


def _gated(rows: Sequence[Row]) -> Iterator[str]:
    found = {(kernel_of(row), row["architecture"]): row for row in rows if "during_copies" in row}
    yield _head("kernel", *(f"sm_{name}" for name in SHOWN))
    for kernel in dict.fromkeys(kernel for kernel, _ in found):
        if kernel.dtype in DTYPES:
            way = kernel.function.removeprefix("gated_linear_")
            cells = [_gated_cell(found[kernel, name]) for name in SHOWN]
            units = ", tensor cores" if kernel.option else ""
            yield f"| {way}, {kernel.dtype}{units} | " + " | ".join(cells) + " |"
    yield ""


def _light(rows: Sequence[Row]) -> Iterator[str]:
    found = {(kernel_of(row), row["architecture"]): row["registers"] for row in rows}
    yield _head("kernel", *(f"sm_{name}" for name in SHOWN))
    for kernel in dict.fromkeys(kernel for kernel, _ in found):
        if kernel.function.startswith("ligru_") and kernel.dtype in DTYPES and kernel.option:
            streamed = replace(kernel, option=False)
            cells = [f"{found[kernel, name]} or {found[streamed, name]}" for name in SHOWN]
            way = kernel.function.removeprefix("ligru_")
            yield f"| {way}, {kernel.dtype} | " + " | ".join(cells) + " |"
    yield ""


def _gated_cell(row: Row) -> str:
    blocks = gated_blocks(row)
    return (
        f"{row['registers']} ({blocks} block{'s' * (blocks > 1)}), {gated_kibibytes_ahead(row):.0f} KiB, "
        f"{row['during_copies']:.0%}"
    )
