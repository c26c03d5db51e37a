"""The machine code of the CUDA kernels: registers, spills and 16-byte accesses."""

import json
import re

import pytest

from ..cuda_on_cpu.build import ARCHITECTURES, SOURCE, run
from ..cuda_on_cpu.toolkit import find_tool

pytestmark = [pytest.mark.cuda, pytest.mark.parametrize("architecture", ARCHITECTURES)]
NAME = re.compile(r"\d([a-z_]+)_kernelI(?:(f|d)|\w*?\d(Half|BFloat16)E)Li(\d+)ELb([01])E")
DTYPES = {"f": "float32", "d": "float64", "Half": "float16", "BFloat16": "bfloat16"}
WIDTHS = {"float32": 4, "float64": 2, "float16": 8, "bfloat16": 8}
KERNELS = {
    (function, dtype, columns, ragged)
    for function in ("sru_forward", "sru_backward")
    for dtype, width in WIDTHS.items()
    for columns in (1, width)
    for ragged in (False, True)
}


def kernel(text):
    function, letter, half, columns, ragged = NAME.search(text).groups()
    return function, DTYPES[letter or half], int(columns), ragged == "1"


def test_no_kernel_spills_or_needs_more_registers_than_the_docs_say(builds, architecture):
    page = json.loads((SOURCE.parents[1] / "docs/benchmarks/cuda-kernels.json").read_text())
    documented = {
        (row["function"], row["dtype"], row["columns"], row["ragged"]): row["registers"]
        for row in page["kernels"]
        if row["architecture"] == architecture
    }
    assert documented.keys() == KERNELS
    reports = [
        part for _, said in builds.cubins[architecture].result() for part in said.split("Compiling entry")[1:]
    ]
    assert {kernel(part) for part in reports} == KERNELS
    for part in reports:
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in part
        assert "smem" not in part
        registers = int(re.search(r"Used (\d+) registers", part)[1])
        assert registers <= documented[kernel(part)], (
            f"{kernel(part)} on sm_{architecture}; nox -s cuda-report"
        )


def test_wide_kernels_read_and_write_16_bytes_at_a_time(builds, architecture):
    seen = set()
    for cubin, _ in builds.cubins[architecture].result():
        listing = run(find_tool("nvdisasm"), "-c", cubin)
        for part in re.split(r"^\s*\.section\s+\.text\.", listing, flags=re.MULTILINE)[1:]:
            seen.add(kernel(part))
            wide = kernel(part)[2] > 1
            for access in ("LDG", "STG"):
                assert bool(re.search(rf"\b{access}\.E\.\S*128", part)) == wide, (access, kernel(part))
    assert seen == KERNELS


def test_a_cuda_graph_can_capture_the_first_launch(builds, architecture):
    """The extension calls nothing that capture forbids: no allocation, wait or copy, no attribute is set."""
    symbols = run("nm", "--dynamic", "--undefined-only", builds.extension.result())
    called = {name.removesuffix("_v2") for name in re.findall(r" U (cuda\w+)", symbols)}
    around_a_launch = {"cudaGetDevice", "cudaSetDevice", "cudaDeviceGetAttribute", "cudaLaunchKernelExC"}
    after_an_error = {"cudaGetLastError", "cudaGetErrorName", "cudaGetErrorString"}
    about_the_machine = {"cudaDriverGetVersion", "cudaGetDeviceCount", "cudaGetDeviceProperties"}
    assert called >= around_a_launch
    by_the_compiler = {"cudaLaunchKernel"}  # for `<<<...>>>`, which nothing here uses
    assert called <= around_a_launch | by_the_compiler | after_an_error | about_the_machine
