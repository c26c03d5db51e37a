"""Compile the CUDA kernels for every architecture, and report on their machine code.

python packages/sru-kernels/benchmarks/cuda_report.py [--out docs/benchmarks] [--jobs 2]

No GPU is needed: ptxas reports registers, spills and shared memory, nvdisasm prints the machine code, and all
other figures are computed from these.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cuda_model import MULTIPROCESSORS, PACKAGE, CudaKernel, latencies
from cuda_on_cpu.toolkit import find_tool
from cuda_page import page
from support.cuda_kernels import STORAGE
from support.machine_code import Code, read_kernels
from support.read_ahead import share_during_copies

Row = Mapping[str, Any]


def main() -> None:
    """Write `cuda-kernels.json` and `cuda-kernels.md`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=PACKAGE.parents[1] / "docs/benchmarks", help="folder of the report"
    )
    parser.add_argument("--nvcc", default=os.environ.get("CUDACXX", "nvcc"), help="the compiler")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of files to compile at once")
    arguments = parser.parse_args()
    nvcc = shutil.which(arguments.nvcc)
    if nvcc is None:
        sys.exit(f"cuda_report: {arguments.nvcc} was not found; install the CUDA toolkit or pass --nvcc")
    rows = compile_all(nvcc, arguments.jobs)
    facts = machine(nvcc)
    text = json.dumps({"machine": facts, "kernels": rows}, indent=1)
    (arguments.out / "cuda-kernels.json").write_text(text + "\n")
    measured = arguments.out / "gpu.json"
    result = json.loads(measured.read_text()) if measured.exists() else None
    (arguments.out / "cuda-kernels.md").write_text("\n".join(page(facts, rows, result)) + "\n")


def compile_all(nvcc: str, jobs: int) -> list[Row]:
    """One row per kernel and architecture."""
    files = sorted(PACKAGE.glob("src/cells/*/cuda_*.cu"))
    work = [(file, architecture) for architecture in MULTIPROCESSORS for file in files]
    with ThreadPoolExecutor(jobs) as pool:
        reports = list(pool.map(lambda job: compile_one(nvcc, *job), work))
    rows = [row for report in reports for row in report]
    order = list(STORAGE)

    def place(row: Row) -> tuple[object, ...]:
        kernel = CudaKernel(**row["kernel"])
        kind = (kernel.threads, kernel.in_ring, kernel.v_varies, kernel.columns, kernel.option)
        cell, _, way = kernel.function.rpartition("_")
        return cell != "sru", cell, way != "forward", order.index(kernel.dtype), kind

    return sorted(rows, key=place)


def compile_one(nvcc: str, file: Path, architecture: str) -> list[Row]:
    """The rows of the kernels in one file."""
    include = ("-I", str(PACKAGE / "include"), "-I", str(PACKAGE / "src"))
    # The flags of cmake/cuda.cmake; tests compare the build with the report.
    flags = ("-std=c++17", "-O3", "-fmad=false", "-DSRU_KERNELS_VARIANT=device", "-Xptxas", "-v")
    with tempfile.TemporaryDirectory() as folder:
        cubin = str(Path(folder) / "kernels.cubin")
        said = run(nvcc, *flags, f"-arch=sm_{architecture}", *include, "-cubin", "-o", cubin, str(file))
        codes = read_kernels(run(find_tool("nvdisasm"), "-c", "-hex", cubin))
    return [
        {"architecture": architecture, **row, **figures(codes[name], row, architecture)}
        for name, row in ptxas_rows(said)
    ]


def run(*command: str) -> str:
    """Run a command and return its output; exit if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"cuda_report: {' '.join(command)}\n{done.stdout}")
    return done.stdout


def ptxas_rows(text: str) -> Iterator[tuple[str, Row]]:
    """Parse the output of `ptxas -v`: the mangled name and a row of each kernel."""
    for part in text.split("Compiling entry function '")[1:]:
        registers = re.search(r"Used (\d+) registers", part)
        spills = re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part
        )
        if not (registers and spills):
            sys.exit(f"cuda_report: cannot parse the report of ptxas on a kernel: {part}")
        shared = re.search(r"(\d+) bytes smem", part)
        name = part.split("'")[0]
        yield (
            name,
            {
                "kernel": CudaKernel.named(name).row(),
                "registers": int(registers[1]),
                "stack": int(spills[1]),
                "spills": int(spills[2]) + int(spills[3]),
                "shared": int(shared[1]) if shared else 0,
            },
        )


def figures(code: Code, row: Row, architecture: str) -> Row:
    """Figures of the machine code; none for kernels that need cp.async on architectures before 8.0."""
    kernel = CudaKernel(**row["kernel"])
    has_copies = int(architecture) >= 80
    if kernel.function.startswith("gated_linear_"):
        return {"during_copies": round(share_during_copies(code), 3)} if has_copies else {}
    if not kernel.function.startswith("sru_") or (kernel.in_ring and not has_copies):
        return {}

    def rounded(*, in_small_block: bool) -> dict[str, float]:
        found = kernel.figures(code, latencies(architecture), in_small_block)
        return {name: round(value, 2) for name, value in found.items()}

    if kernel.in_ring:
        return {**rounded(in_small_block=False), "in_small_blocks": rounded(in_small_block=True)}
    return rounded(in_small_block=False)


def machine(nvcc: str) -> Row:
    """The compiler and the machine of the report."""
    release = re.search(r"release (\S+), (\S+)", run(nvcc, "--version"))
    return {
        "date": datetime.date.today().isoformat(),
        "commit": run("git", "-C", str(PACKAGE), "describe", "--always", "--dirty").strip(),
        "nvcc": release[2] if release else "unknown",
        "processor": f"{os.uname().machine}, {os.cpu_count()} cores, no GPU used",
        "command": "nox -s cuda-report",
    }


if __name__ == "__main__":
    main()
