"""Measure the kernels on this machine's GPU, in under ten minutes.

python packages/sru-kernels/benchmarks/gpu_report.py [--out docs/benchmarks]

Needs sru-kernels (a wheel with CUDA), sru-nn and torch; the tests also need pytest, hypothesis and numpy, and
the bytes per kernel need ncu. If something is missing, the report says so. No network is used.

Runs the tests marked gpu, then times the recurrence and layers against cuDNN's LSTM and GRU, the Triton
backend and the bandwidth of a copy. Writes `gpu.json` and `gpu.md`.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.util
import io
import json
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cuda_model import SHAPES
from gpu_page import page

ROOT = Path(__file__).resolve().parents[3]
DTYPES = ("float32", "bfloat16")
MINUTES = 9.0
TESTS = 240  # time limit of the tests in seconds
METRICS = {
    "dram__bytes_read.sum": "read",
    "dram__bytes_write.sum": "written",
    "gpu__time_duration.sum": "nanoseconds",
}
Shape = tuple[int, int, int]
Row = dict[str, Any]


def main() -> None:
    """Measure, and write `gpu.json` and `gpu.md`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks", help="folder of the report")
    parser.add_argument("--profile", nargs=4, metavar=("T", "B", "D", "DTYPE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if reason := problem():
        sys.exit(f"gpu_report: nothing was measured, because {reason}")
    if arguments.profile:
        *shape, dtype = arguments.profile
        return profile(tuple(map(int, shape)), dtype)  # type: ignore[arg-type]
    end = time.monotonic() + 60 * MINUTES
    result = {
        "machine": machine(),
        "tests": run_tests(),
        **measure(end),
        "profiles": profiles(end),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    text = "\n".join(page(result)) + "\n"
    (arguments.out / "gpu.md").write_text(text)
    print(text)


def problem() -> str | None:
    """The reason why nothing can be measured on this machine, or None."""
    for name in ("torch", "sru_nn", "sru_kernels"):
        if importlib.util.find_spec(name) is None:
            return f"the package {name.replace('_', '-')} is not installed"
    import torch

    if not torch.cuda.is_available():
        return "torch sees no CUDA device (is this a CUDA build of torch, is CUDA_VISIBLE_DEVICES set?)"
    from sru_nn import backend

    try:
        with backend.using("kernels"):
            backend.active("cuda")
    except RuntimeError as error:
        return str(error)
    return None


def machine() -> dict[str, str]:
    """The GPU and the software."""
    import torch

    from sru_kernels import cuda

    gpu = torch.cuda.get_device_properties(0)
    built = cuda.build_info()
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "gpu": f"{gpu.name} ({gpu.major}.{gpu.minor}, {gpu.multi_processor_count} multiprocessors)",
        "driver": f"CUDA {cuda.driver_version()}",
        "kernels": f"CUDA {built['toolkit']}, {' '.join(built['architectures'])}" if built else "unknown",
        "torch": f"{torch.__version__}, cuDNN {torch.backends.cudnn.version()}",
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip() or "unknown",
    }


def run_tests() -> str:
    """Run the tests marked gpu; return pytest's last line."""
    missing = [name for name in ("pytest", "hypothesis", "numpy") if importlib.util.find_spec(name) is None]
    if missing:
        return f"not run: {', '.join(missing)} not installed"
    # Without the repository's settings, which need more plugins.
    options = ("-m", "gpu", "-q", "--import-mode=importlib", "--continue-on-collection-errors")
    plugins = ("-p", "no:cacheprovider", "-p", "no:randomly")
    folders = [str(ROOT / "packages" / name / "tests") for name in ("sru-kernels", "sru-nn")]
    program = (sys.executable, "-m", "pytest", "-c", "/dev/null", f"--rootdir={ROOT}")
    command = [*program, *options, *plugins, *folders]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TESTS, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return f"stopped after {TESTS} s"
    print(done.stdout[-4000:])
    return done.stdout.strip().splitlines()[-1].strip("= ") if done.stdout.strip() else done.stderr[-200:]


def measure(end: float) -> Row:
    """The bandwidth of a copy, and a row for each shape, dtype and contender."""
    from gpu_timing import Clock, bytes_moved, contenders, copy_bandwidth

    clock = Clock()
    result: Row = {"copy": copy_bandwidth(clock), "rows": []}
    for shape in SHAPES:
        for dtype in DTYPES:
            for name, prepare in contenders(shape, dtype):
                row: Row = {"shape": shape, "dtype": dtype, "name": name}
                result["rows"].append(row)
                if time.monotonic() > end:
                    row["reason"] = "out of time"
                    continue
                try:
                    for what, call in prepare().items():
                        row[what] = clock(call)
                except Exception as error:  # the contender does not support this machine or dtype
                    row["reason"] = first_line(error)
                if "recurrence" in name:
                    row["bytes"] = bytes_moved(shape, dtype)
    return result


def first_line(error: Exception) -> str:
    """The first line of an error, short enough for a table."""
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__


def profile(shape: Shape, dtype: str) -> None:
    """Run one forward and one backward pass, for ncu to profile."""
    from gpu_timing import recurrence

    recurrence(shape, dtype, "kernels")["both"]()


def profiles(end: float) -> list[Row] | str:
    """The figures of ncu for each kernel, or the reason why there are none."""
    ncu = shutil.which("ncu")
    if ncu is None:
        return "ncu is not on the path"
    rows: list[Row] = []
    for shape in SHAPES:
        for dtype in DTYPES:
            left = end - time.monotonic()
            if left < 30:
                return rows
            watch = (
                "--csv",
                "--print-units",
                "base",
                "--metrics",
                ",".join(METRICS),
                "--kernel-name",
                "regex:sru_",
            )
            case = ("--profile", *map(str, shape), dtype)
            command = [ncu, *watch, sys.executable, str(Path(__file__).resolve()), *case]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=left)
            except subprocess.TimeoutExpired:
                return rows
            found = read_profile(done.stdout)
            if not found:
                return rows or f"ncu: {(done.stdout + done.stderr).strip()[-200:]}"
            rows += [{"shape": shape, "dtype": dtype, **row} for row in found]
    return rows


def read_profile(text: str) -> Sequence[Row]:
    """The last launch of each kernel in ncu's CSV."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    kernels: dict[str, Row] = {}
    for line in csv.DictReader(io.StringIO("\n".join(lines))):
        if line["Metric Name"] in METRICS:
            name = re.sub(r"^(?:void )?(?:\w+::)*", "", line["Kernel Name"]).split("(")[0]
            row = kernels.setdefault(name, {"kernel": name})
            row[METRICS[line["Metric Name"]]] = float(line["Metric Value"].replace(",", ""))
    return list(kernels.values())


if __name__ == "__main__":
    main()
