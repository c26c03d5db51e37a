"""Small kernels that test how the engines run an instruction: `probes/`."""

from __future__ import annotations

import ctypes
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .build import HERE, run
from .ptxrun.translate import translate
from .toolkit import Toolkit

COMMON = ("-std=c++17", "-g1", "-w", "-mfma", "-ffp-contract=off")


@dataclass(frozen=True)
class Probes:
    """One program per engine, which launches a kernel; several blocks are launched cooperatively."""

    programs: dict[str, Path]

    def __call__(
        self, engine: str, name: str, inputs: NDArray, threads: int = 32, blocks: int = 1
    ) -> tuple[NDArray, str]:
        """Run a kernel; return its output, of the same size as the input, and the program's errors."""
        done = subprocess.run(
            [str(self.programs[engine]), name, str(threads), str(blocks)],
            input=inputs.tobytes(),
            capture_output=True,
            preexec_fn=_without_random_addresses,
            check=False,
        )
        # An aborted program has written nothing.
        return np.frombuffer(done.stdout, np.float32), done.stderr.decode(errors="replace")


def _without_random_addresses() -> None:
    """The race detector needs address ranges that may be taken when Linux randomizes addresses."""
    ctypes.CDLL(None).personality(0x0040000)


def build(toolkit: Toolkit, folder: Path) -> Probes:
    """Compile the kernels from source with the race detector, and from PTX."""
    with ThreadPoolExecutor(2) as pool:
        programs = {
            "source-tsan": pool.submit(_source, toolkit, folder),
            "ptx": pool.submit(_ptx, toolkit, folder),
        }
        return Probes({engine: program.result() for engine, program in programs.items()})


def _source(toolkit: Toolkit, folder: Path) -> Path:
    program = folder / "source"
    include = ("-I", HERE / "shim", *toolkit.options())
    run(
        "g++",
        *COMMON,
        "-O1",
        "-fsanitize=thread",
        *include,
        HERE / "probes/main.cpp",
        "-o",
        program,
        "-lpthread",
    )
    return program


def _ptx(toolkit: Toolkit, folder: Path) -> Path:
    texts = []
    for file in sorted((HERE / "probes").glob("*.cu")):
        result = folder / f"{file.stem}.ptx"
        run(toolkit.nvcc, "-std=c++17", "-arch=compute_80", "-ptx", file, "-o", result)
        texts.append(result.read_text())
    (folder / "probes.cpp").write_text(translate(texts))
    program = folder / "ptx"
    include = ("-I", HERE / "shim", "-I", HERE / "ptxrun", "-I", folder, *toolkit.options())
    options = ("-O0", "-fno-strict-aliasing", "-DPROBES_ARE_PTX")
    run("g++", *COMMON, *options, *include, HERE / "probes/main.cpp", "-o", program, "-lpthread")
    return program
