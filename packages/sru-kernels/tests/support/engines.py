"""The engines that run the kernels: this process, a process with a CUDA build on the CPU, or a GPU."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray

from sru_kernels import cpu

from ..cuda_on_cpu.build import Builds, run
from .invoke import arguments, invoke

Array = NDArray[np.generic]
# Runs a kernel. The arguments are its name, the fields that are not arrays, the input arrays, the output
# arrays, and the launch options for a GPU.
Engine = Callable[
    [str, Mapping[str, object], Mapping[str, Array], Mapping[str, Array], Mapping[str, int]], None
]

WORKER = Path(__file__).with_name("worker.py")
# The sanitizers need address ranges that may be taken when Linux randomizes addresses.
LAUNCHER = """
import ctypes, os, sys
_, worker, preload = sys.argv
if preload:
    ADDR_NO_RANDOMIZE = 0x0040000
    ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)
    os.environ["LD_PRELOAD"] = preload
os.execv(sys.executable, [sys.executable, "-S", worker])
"""
SOURCES = ("source-asan", "source-tsan")  # the CUDA source, compiled by g++ with a sanitizer
PTX = ("ptx-75", "ptx-120")  # the extension built by nvcc, running its PTX for one architecture
GPU = pytest.param("gpu", marks=pytest.mark.gpu)
ON_SOURCES = [pytest.param(name, marks=pytest.mark.cuda) for name in SOURCES]
ON_PTX = [pytest.param(name, marks=pytest.mark.cuda) for name in PTX]
ENGINES = ["cpu", *ON_SOURCES, *ON_PTX, GPU]
# For tests of many options: the race detector is slow, and other tests run the same kernels under it.
BUT_FOR_RACES = [name for name in ENGINES if name is not ON_SOURCES[1]]


class CudaError(RuntimeError):
    """A `sru_kernels.cuda.Error` raised in a worker."""


ERRORS = {"Error": CudaError, "ValueError": ValueError, "TypeError": TypeError, "ImportError": ImportError}


def cpu_engine(num_threads: int = 1) -> Engine:
    """The CPU kernels, in this process. They ignore launch options."""

    def run(function: str, fields: Mapping, inputs: Mapping, outputs: Mapping, options: Mapping) -> None:
        invoke(getattr(cpu, function), fields, inputs, outputs, num_threads=num_threads)

    return run


@dataclass
class Worker:
    """An engine in a separate process, restarted after a sanitizer has ended it.

    `machine` holds environment variables that describe the simulated machine to the stand-in runtime.
    """

    package: Path  # the folder that holds `sru_kernels`
    environment: Mapping[str, str] = field(default_factory=dict)
    preload: str = ""
    machine: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    errors: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def __call__(
        self, function: str, fields: Mapping, inputs: Mapping, outputs: Mapping, options: Mapping
    ) -> None:
        """Run a kernel, as an `Engine`."""
        written = self.request("launch", function, fields, inputs, outputs, device=0, stream=0, **options)
        for name, array in outputs.items():
            array[...] = written[name]

    def request(
        self, name: str, *args: object, environment: Mapping[str, str] | None = None, **options: object
    ) -> object:
        """Call a function of worker.py on the `machine`, changed by `environment`.

        Raises:
            AssertionError: A sanitizer's report or a crash ended the process; the message has its output.
            CudaError: The function raised it.
        """
        process = self._running()
        try:
            pickle.dump((name, args, options, {**self.machine, **(environment or {})}), process.stdin)
            process.stdin.flush()
            kind, result = pickle.load(process.stdout)
        except (EOFError, BrokenPipeError):
            code = process.wait()
            self._end()
            self.errors.seek(0)
            said = self.errors.read(6000).decode(errors="replace")
            raise AssertionError(f"{self.package.name} ended with {code}:\n{said}") from None
        if kind == "result":
            return result
        raise ERRORS.get(kind, AssertionError)(result)

    def close(self) -> None:
        """End the process and accept no more requests."""
        self._end()
        self.errors.close()

    def _end(self) -> None:
        if self.process is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()
            self.process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            # Without site: the hooks of an editable installation would take precedence over this package.
            path = os.pathsep.join([str(self.package), *filter(None, sys.path)])
            self.errors.seek(0)
            self.errors.truncate()
            self.process = subprocess.Popen(
                [sys.executable, "-S", "-c", LAUNCHER, str(WORKER), self.preload],
                env={**os.environ, **self.environment, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
            )
        return self.process


def source_worker(builds: Builds, name: str) -> Worker:
    """The CUDA source under the sanitizer named at the end of `name`."""
    sanitizer = name.split("-")[1]
    library = run("g++", f"-print-file-name=lib{sanitizer}.so").strip()
    options = {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "halt_on_error=1"}
    return Worker(builds.sources[sanitizer].result(), options, preload=str(Path(library).resolve()))


def ptx_worker(builds: Builds, name: str) -> Worker:
    """The extension with a stand-in runtime that contains the PTX of one architecture."""
    architecture = name.split("-")[1]
    runtime = builds.translated[architecture].result()
    environment = {"LD_LIBRARY_PATH": str(runtime), "CUSHIM_COMPUTE_CAPABILITY": architecture}
    return Worker(builds.real, environment)


def gpu_engine() -> Engine:
    """The kernels on GPU 0; torch allocates the memory."""
    import torch

    from sru_kernels import cuda

    def run(function: str, fields: Mapping, inputs: Mapping, outputs: Mapping, options: Mapping) -> None:
        def on_device(array: Array) -> torch.Tensor:
            return torch.from_numpy(array.reshape(-1).view("uint8")).cuda()

        tensors = {name: on_device(array) for name, array in {**inputs, **outputs}.items()}
        addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
        kernel: Callable[..., None] = getattr(cuda, function)
        stream = torch.cuda.current_stream().cuda_stream
        kernel(arguments(function, fields, addresses), device=0, stream=stream, **options)
        for name, array in outputs.items():
            array.reshape(-1).view("uint8")[...] = tensors[name].cpu().numpy()

    return run
