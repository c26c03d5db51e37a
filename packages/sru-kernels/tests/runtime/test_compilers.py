"""Clang accepts the sources of the CPU kernels, regardless of which compiler built the package."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
AVX2 = ("-fopenmp-simd", "-mavx2", "-mfma", "-mf16c", "-DSRU_KERNELS_VARIANT=avx2")


def test_clang_accepts_every_source_of_the_cpu_kernels():
    clang = shutil.which("clang++") or shutil.which("clang++-14")
    if clang is None:
        pytest.skip("clang++ is not on PATH")
    if platform.machine() != "x86_64":
        pytest.skip("the compiler flags need x86-64")
    sources = sorted(SOURCE.glob("src/cells/*/cpu_*.cpp")) + sorted(SOURCE.glob("src/runtime/cpu/*.cpp"))
    if not sources:
        pytest.skip(f"the tests are not beside the sources: {SOURCE} has no src")
    includes = (f"-I{SOURCE / 'include'}", f"-I{SOURCE / 'src'}")
    command = [clang, "-std=c++17", "-fsyntax-only", *WARNINGS, *AVX2, *includes, *map(str, sources)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
