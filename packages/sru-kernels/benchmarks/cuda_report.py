"""Compile the CUDA kernels for every architecture, and report registers, occupancy and predicted bandwidth.

python packages/sru-kernels/benchmarks/cuda_report.py [--out docs/benchmarks]

Nothing runs on a GPU: ptxas reports registers, spills and shared memory, and the rest follows from them.
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

from cuda_model import MULTIPROCESSORS, STORAGE, Kernel
from cuda_page import page

PACKAGE = Path(__file__).resolve().parents[1]
DTYPES = {"f": "float32", "d": "float64", "Half": "float16", "BFloat16": "bfloat16"}
NAME = re.compile(r"\d([a-z_]+)_kernelI(?:(f|d)|\w*?\d(Half|BFloat16)E)Li(\d+)ELb([01])E")
Row = Mapping[str, Any]


def main() -> None:
    """Write `cuda-kernels.json` and `cuda-kernels.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=PACKAGE.parents[1] / "docs/benchmarks", help="folder of the report"
    )
    parser.add_argument("--nvcc", default=os.environ.get("CUDACXX", "nvcc"), help="the compiler")
    arguments = parser.parse_args()
    nvcc = shutil.which(arguments.nvcc)
    if nvcc is None:
        sys.exit(f"cuda_report: {arguments.nvcc} is not found; install the CUDA toolkit or pass --nvcc")
    rows = compile_all(nvcc)
    facts = machine(nvcc)
    text = json.dumps({"machine": facts, "kernels": rows}, indent=1)
    (arguments.out / "cuda-kernels.json").write_text(text + "\n")
    keys = dict.fromkeys((row["function"], row["dtype"], row["columns"]) for row in rows if not row["ragged"])
    kernels = [Kernel(*key, depth(*key)) for key in keys]
    (arguments.out / "cuda-kernels.md").write_text("\n".join(page(facts, rows, kernels)) + "\n")


def compile_all(nvcc: str) -> list[Row]:
    """One row for every kernel and architecture."""
    files = sorted(PACKAGE.glob("src/cells/*/cuda_*.cu"))
    jobs = [(file, architecture) for architecture in MULTIPROCESSORS for file in files]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = list(pool.map(lambda job: compile_one(nvcc, *job), jobs))
    rows = [row for report in reports for row in report]
    order = list(STORAGE)

    def place(row: Row) -> tuple[object, ...]:
        return row["function"] != "sru_forward", order.index(row["dtype"]), row["columns"], row["ragged"]

    return sorted(rows, key=place)


def compile_one(nvcc: str, file: Path, architecture: str) -> list[Row]:
    """The report of ptxas on the kernels in one file."""
    include = ("-I", str(PACKAGE / "include"), "-I", str(PACKAGE / "src"))
    # The flags of cmake/cuda.cmake; the tests compare its build with the report.
    flags = ("-std=c++17", "-O3", "-fmad=false", "-DSRU_KERNELS_VARIANT=device", "-Xptxas", "-v")
    with tempfile.TemporaryDirectory() as folder:
        result = ("-cubin", "-o", str(Path(folder) / "kernels.cubin"))
        command = [nvcc, *flags, f"-arch=sm_{architecture}", *include, *result, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"cuda_report: {' '.join(command)}\n{done.stderr}")
    return [{**row, "architecture": architecture} for row in ptxas_rows(done.stderr)]


def ptxas_rows(text: str) -> Iterator[Row]:
    """Parse the output of `ptxas -v`, one row per kernel."""
    for part in text.split("Compiling entry function")[1:]:
        name = NAME.search(part)
        registers = re.search(r"Used (\d+) registers", part)
        spills = re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part
        )
        if not (name and registers and spills):
            sys.exit(f"cuda_report: cannot parse the report of ptxas on a kernel: {part}")
        shared = re.search(r"(\d+) bytes smem", part)
        yield {
            "function": name[1],
            "dtype": DTYPES[name[2] or name[3]],
            "columns": int(name[4]),
            "ragged": name[5] == "1",
            "registers": int(registers[1]),
            "stack": int(spills[1]),
            "spills": int(spills[2]) + int(spills[3]),
            "shared": int(shared[1]) if shared else 0,
        }


def depth(function: str, dtype: str, columns: int) -> int:
    """How many steps a kernel reads ahead, from the line `constexpr int forward_depth = …` of its source."""
    short = function.removeprefix("sru_")
    source = (PACKAGE / f"src/cells/sru/cuda_{short}.cu").read_text()
    found = re.search(rf"constexpr int {short}_depth = ([^;?]+) \? (\d+) : (\d+);", source)
    if found is None:
        sys.exit(f"cuda_report: cuda_{short}.cu has no constexpr int {short}_depth = CONDITION ? N : M;")
    condition = found[1].replace("||", "or").replace("&&", "and").replace("sizeof(S)", str(STORAGE[dtype]))
    return int(found[2] if eval(condition, {"columns": columns}) else found[3])


def machine(nvcc: str) -> Row:
    """The compiler and the machine of the report."""

    def said(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE).stdout.strip()

    release = re.search(r"release (\S+), (\S+)", said(nvcc, "--version"))
    return {
        "date": datetime.date.today().isoformat(),
        "commit": said("git", "describe", "--always", "--dirty"),
        "nvcc": release[2] if release else "unknown",
        "processor": f"{os.uname().machine}, {os.cpu_count()} cores, no GPU used",
        "command": "nox -s cuda-report",
    }


if __name__ == "__main__":
    main()
