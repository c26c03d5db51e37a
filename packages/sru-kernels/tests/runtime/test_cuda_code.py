"""The machine code of the CUDA kernels: registers, spills, 16-byte accesses, and read-ahead distance."""

import json
import re

import pytest

from ..cuda_on_cpu.build import ARCHITECTURES, SOURCE, run
from ..cuda_on_cpu.toolkit import find_tool
from ..support.cuda_kernels import STORAGE, CudaKernel
from ..support.machine_code import read_kernels
from ..support.read_ahead import products_during_reads, share_during_copies

pytestmark = pytest.mark.cuda
built = pytest.mark.parametrize("architecture", ARCHITECTURES)
TEAMS = {"sru_forward": 5, "sru_backward": 8}
KERNELS = {
    kernel
    for function, threads in TEAMS.items()
    for dtype, size in STORAGE.items()
    for kernel in (
        CudaKernel(function, dtype),
        CudaKernel(function, dtype, v_varies=True),
        CudaKernel(function, dtype, in_ring=True),
        CudaKernel(function, dtype, 16 // size, in_ring=True),
        CudaKernel(function, dtype, threads=threads),
    )
}


@pytest.fixture(scope="module")
def machine_code(builds):
    """A function that returns the kernels of an architecture and their machine code."""
    found = {}

    def read(architecture):
        if architecture not in found:
            found[architecture] = {
                CudaKernel.named(name): code
                for cubin, _ in builds.cubins[architecture].result()
                for name, code in read_kernels(run(find_tool("nvdisasm"), "-c", "-hex", cubin)).items()
            }
        return found[architecture]

    return read


def documented(architecture):
    """The rows of docs/benchmarks/cuda-kernels.json for an architecture."""
    page = json.loads((SOURCE.parents[1] / "docs/benchmarks/cuda-kernels.json").read_text())
    return {
        CudaKernel(**row["kernel"]): row for row in page["kernels"] if row["architecture"] == architecture
    }


@built
def test_no_kernel_spills_or_uses_more_than_documented(builds, architecture):
    rows = documented(architecture)
    reports = [
        part for _, said in builds.cubins[architecture].result() for part in said.split("Compiling entry")[1:]
    ]
    assert {CudaKernel.named(part) for part in reports} == rows.keys() >= KERNELS
    for part in reports:
        kernel = CudaKernel.named(part)
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in part
        shared = re.search(r"(\d+) bytes smem", part)
        used = {
            "registers": int(re.search(r"Used (\d+) registers", part)[1]),
            "shared": int(shared[1]) if shared else 0,
        }
        for what, amount in used.items():
            assert amount <= rows[kernel][what], f"{kernel} on sm_{architecture}: {what}; nox -s cuda-report"


def sru_kernels(machine_code, architecture):
    """The kernels of the SRU, except rings without cp.async, which return at once."""
    for kernel, code in machine_code(architecture).items():
        if kernel.function.startswith("sru_") and not (kernel.in_ring and int(architecture) < 80):
            yield kernel, code


@built
def test_rings_copy_and_wide_kernels_write_16_bytes_at_a_time(machine_code, architecture):
    for kernel, code in sru_kernels(machine_code, architecture):
        sizes = {
            name: {one.size for one in code.instructions if one.name == name} for name in ("LDGSTS", "STG")
        }
        assert sizes["LDGSTS"] == ({16} if kernel.in_ring else set()), kernel
        assert (16 in sizes["STG"]) == (kernel.columns > 1), kernel


def is_read_far_ahead(kernel, ahead):
    """At least 12 steps, or 16 KiB per multiprocessor if each of its four schedulers has one warp.

    At least 10 steps in teams, whose steps are shorter, and 2 steps if data is read into registers.
    """
    if kernel.in_ring:
        return ahead >= 12 or ahead * 128 * kernel.columns * kernel.read() >= 16 << 10
    return ahead >= (10 if kernel.threads > 1 else 2)


def waits_sooner(kernel):
    """Whether a kernel waits for a read in the same iteration: float64 without a ring."""
    return not kernel.in_ring and kernel.dtype == "float64"


@built
def test_memory_is_read_ahead(machine_code, architecture):
    for kernel, code in sru_kernels(machine_code, architecture):
        ahead = kernel.figures(code, {})["steps_ahead"]
        assert is_read_far_ahead(kernel, ahead) != waits_sooner(kernel), (kernel, ahead)


@built
def test_rings_are_longer_in_small_blocks(machine_code, architecture):
    """A warp has twice as many groups of steps."""
    for kernel, code in sru_kernels(machine_code, architecture):
        if kernel.in_ring:
            full, small = (kernel.figures(code, {}, is_small) for is_small in (False, True))
            groups = 1 + full["steps_ahead"] / full["steps"]
            assert round(1 + small["steps_ahead"] / small["steps"]) == 2 * round(groups), kernel


@built
def test_gated_linear_computes_while_the_next_chunk_is_copied(machine_code, architecture):
    for kernel, code in machine_code(architecture).items():
        if kernel.function.startswith("gated_linear_") and int(architecture) >= 80:
            assert share_during_copies(code) > 0.5, kernel


def light_grus(machine_code, architecture):
    """The kernels of the Li-GRU, and the number of elements that a lane reads at a time."""
    for kernel, code in machine_code(architecture).items():
        if kernel.function.startswith("ligru_"):
            yield kernel, code, 16 // kernel.sizes[1]


@built
def test_light_grus_read_states_16_bytes_at_a_time(machine_code, architecture):
    """Four rows of states, before and in the loop, and as many elements of a column in shared memory."""
    for kernel, code, piece in light_grus(machine_code, architecture):
        read = {name: [one.size for one in code.instructions if one.name == name] for name in ("LDG", "LDS")}
        assert read["LDG"].count(16) >= 8, kernel
        assert set(read["LDS"]) == ({kernel.sizes[0] * piece} if kernel.option else set()), kernel


@built
def test_light_grus_multiply_while_the_next_states_are_read(machine_code, architecture):
    """All products of a piece: four rows times eight columns."""
    for kernel, code, piece in light_grus(machine_code, architecture):
        assert products_during_reads(code) >= 32 * piece, kernel


@built
def test_steps_take_no_longer_to_issue_than_documented(machine_code, architecture):
    rows = documented(architecture)
    for kernel, code in sru_kernels(machine_code, architecture):
        assert kernel.figures(code, {})["cycles"] <= 1.05 * rows[kernel]["cycles"], kernel


@built
def test_a_cuda_graph_can_capture_the_first_launch(builds, architecture):
    """The extension calls nothing that capture forbids: no allocation, synchronization or copy.

    cudaFuncSetAttribute only raises a kernel's limit of shared memory, which adds no work to a stream.
    """
    symbols = run("nm", "--dynamic", "--undefined-only", builds.extension.result())
    called = {name.removesuffix("_v2") for name in re.findall(r" U (cuda\w+)", symbols)}
    around_a_launch = {"cudaGetDevice", "cudaSetDevice", "cudaDeviceGetAttribute", "cudaLaunchKernelExC"}
    around_a_launch |= {"cudaFuncSetAttribute"}
    after_an_error = {"cudaGetLastError", "cudaGetErrorName", "cudaGetErrorString"}
    about_the_machine = {"cudaDriverGetVersion", "cudaGetDeviceCount", "cudaGetDeviceProperties"}
    assert called >= around_a_launch
    by_the_compiler = {"cudaLaunchKernel"}  # for `<<<...>>>`, which is not used here
    assert called <= around_a_launch | by_the_compiler | after_an_error | about_the_machine


@pytest.mark.parametrize(
    ("architecture", "columns", "kibibytes"), [("80", 0, 0), ("90", 124, 16), ("100", 110, 32), ("120", 0, 0)]
)
def test_documented_targets_are_met(architecture, columns, kibibytes):
    """Per step of one column: at most 200 issue cycles forward and 300 backward, with no spills.

    A multiprocessor requests at least `kibibytes` at a time for its columns of a batch of 32 by 512.
    """
    limits = {"sru_forward": 200, "sru_backward": 300}
    rows = documented(architecture)
    for function, limit in limits.items():
        for dtype in ("float32", "float16", "bfloat16"):
            for in_ring in (False, True):
                kernel = CudaKernel(function, dtype, in_ring=in_ring)
                assert rows[kernel]["cycles"] <= limit, kernel
            ahead = rows[kernel]["in_small_blocks"]["steps_ahead"]
            assert columns * ahead * kernel.read() >= kibibytes << 10, kernel
    assert not any(row["spills"] for row in rows.values())
