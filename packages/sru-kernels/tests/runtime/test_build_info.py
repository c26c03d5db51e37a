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
        pytest.skip("needs /proc/cpuinfo of Linux on x86-64")
    line = next(line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    return set(line.split(":", 1)[1].split())


def test_version_matches_the_package_metadata():
    assert sru_kernels.__version__ == metadata.version("sru-kernels")
    assert sru_kernels.build_info()["version"] == sru_kernels.__version__


def test_build_info_names_compiler_and_standard():
    info = sru_kernels.build_info()
    assert re.fullmatch(r"(GNU|Clang|AppleClang) \d+(\.\d+)+", info["compiler"])
    assert info["cxx_standard"] == 17


def test_build_info_describes_the_cuda_build():
    info = sru_kernels.build_info()["cuda"]
    assert info == sru_kernels.cuda.build_info()
    if info is None:
        assert sru_kernels.cuda.problem() is not None
    else:
        assert info.keys() == {"toolkit", "architectures", "runtime"}
        assert all(re.fullmatch(r"(sm|compute)_\d+", name) for name in info["architectures"])


def test_instruction_set_is_the_widest_of_the_processor(monkeypatch):
    monkeypatch.delenv("SRU_KERNELS_INSTRUCTION_SET", raising=False)
    flags = processor_flags()
    if {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        expected = "avx512_bf16" if "avx512_bf16" in flags else "avx512"
    elif {"avx2", "fma", "f16c"} <= flags:
        expected = "avx2"
    else:
        expected = "baseline"
    program = "import sru_kernels; print(sru_kernels.build_info()['instruction_set'])"
    assert run_python("-c", program).strip() == expected


def test_openmp_of_torch_is_used_if_torch_is_loaded():
    pytest.importorskip("torch", reason="torch is not installed")
    program = "import sru_kernels, torch; print(sru_kernels.build_info()['openmp'], torch.__file__)"
    runtime, torch = run_python("-c", program).split()
    assert Path(runtime).is_relative_to(Path(torch).parents[1])


def test_openmp_respects_omp_num_threads(monkeypatch):
    if sru_kernels.build_info()["openmp"] is None:
        pytest.skip("this build has no OpenMP")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    program = "import sru_kernels; print(sru_kernels.build_info()['max_threads'])"
    assert run_python("-c", program).strip() == "3"


def test_the_package_ships_no_openmp_runtime():
    package = Path(sru_kernels.__file__).parent
    assert not [path for path in package.parent.rglob("libgomp*") if "sru_kernels" in str(path)]


def test_build_info_returns_a_copy():
    sru_kernels.build_info().clear()
    assert sru_kernels.build_info()["version"]


def test_import_loads_neither_torch_nor_numpy_nor_cuda():
    loaded = run_python("-c", "import sys, sru_kernels; print(*sys.modules)").split()
    assert "sru_kernels._native" in loaded
    assert {"torch", "numpy", "sru_kernels._cuda"}.isdisjoint(loaded)


def test_running_the_package_prints_the_diagnosis():
    facts = dict(line.split(": ", 1) for line in run_python("-m", "sru_kernels").splitlines())
    assert facts["version"] == sru_kernels.__version__
    assert facts["instruction_set"] == sru_kernels.cpu.instruction_set()
    assert int(facts["max_threads"]) >= 1
    assert facts["cuda"].startswith("none" if sru_kernels.cuda.build_info() is None else "toolkit ")
    assert facts["python"] == platform.python_version()
    assert Path(facts["extension"]).is_file()
