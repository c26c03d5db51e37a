import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import sru_kernels


def run_python(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout


def processor_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpuinfo.exists():
        pytest.skip("the processor's flags are read from /proc/cpuinfo of an x86-64 Linux")
    line = next(line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    return set(line.split(":", 1)[1].split())


def test_version_is_the_one_in_the_package_metadata():
    assert sru_kernels.__version__ == metadata.version("sru-kernels")
    assert sru_kernels.build_info()["version"] == sru_kernels.__version__


def test_build_info_names_compiler_and_standard():
    info = sru_kernels.build_info()
    assert re.fullmatch(r"(GNU|Clang|AppleClang) \d+(\.\d+)+", info["compiler"])
    assert info["cxx_standard"] == 17


def test_build_info_claims_no_cuda():
    assert sru_kernels.build_info()["cuda"] is None


def test_instruction_set_is_the_widest_the_kernel_reports():
    flags = processor_flags()
    if {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        expected = "avx512"
    elif {"avx2", "fma", "f16c"} <= flags:
        expected = "avx2"
    else:
        expected = "baseline"
    assert sru_kernels.build_info()["instruction_set"] == expected


def test_caller_may_change_what_build_info_returned():
    sru_kernels.build_info().clear()
    assert sru_kernels.build_info()["version"]


def test_import_brings_in_neither_torch_nor_numpy():
    loaded = run_python("-c", "import sys, sru_kernels; print(*sys.modules)").split()
    assert "sru_kernels._native" in loaded
    assert {"torch", "numpy"}.isdisjoint(loaded)


def test_running_the_package_prints_the_diagnosis():
    facts = dict(line.split(": ", 1) for line in run_python("-m", "sru_kernels").splitlines())
    assert facts["version"] == sru_kernels.__version__
    assert facts["cuda"] == "none"
    assert facts["python"] == platform.python_version()
    assert Path(facts["extension"]).is_file()
