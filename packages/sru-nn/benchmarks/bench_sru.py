"""SRU against PyTorch's recurrent modules and, on the CPU, `sru` 2.6.0: `nox -s bench`.

Checks that contenders with the same weights agree, then times all of them in one run and writes
`docs/benchmarks/sru-cpu.json`, `.md` and `.png`, or `sru-cuda.*` with `--device cuda`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from contenders import OLD, OURS, REFERENCE, forward_calls, modules, step_calls, training_calls
from measure import Timing, import_time, peak_memory, race
from record import machine
from report import write_report

from sru_nn import SRU

SHAPES = [(128, 32, 512), (512, 16, 256), (256, 32, 1024), (1024, 1, 1024), (128, 1, 512), (32, 32, 128)]
STEP_SIZE = 1024
LENGTHS = (1024, 65536)
MEMORY_SHAPE = (256, 32, 512)


def main() -> None:
    """Run everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="time per shape and mode")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    parser.add_argument(
        "--dtypes", nargs="+", default=["float32", "bfloat16"], help="dtypes of the sequences"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="device of the tensors")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_default_device(options.device)
    rows: list[dict[str, Any]] = []
    for dtype in (getattr(torch, name) for name in options.dtypes):
        for shape in SHAPES:
            rows += sequence_rows(shape, dtype, options.seconds)
    for layers in (1, 4):
        rows += to_rows(
            "step",
            (1, 1, STEP_SIZE),
            torch.float32,
            race(step_calls(STEP_SIZE, layers), seconds=options.seconds, shortest=0.05),
            layers,
        )
    if options.device == "cpu":
        rows += length_rows(options.seconds)
        rows += memory_rows()
        rows += to_rows("import", (), torch.float32, {OURS: import_time("sru_kernels")})
    write_report(options.out, options.device, machine(options.device), rows)


def sequence_rows(shape: tuple[int, int, int], dtype: torch.dtype, seconds: float) -> list[dict[str, Any]]:
    """Measure inference and training over sequences of one shape (T, B, D), one layer."""
    length, batch, size = shape
    made = modules(size, 1, dtype)
    x = torch.randn(length, batch, size, dtype=dtype)
    forward, training = forward_calls(made, x), training_calls(made, x)
    check_parity(forward, training, dtype)
    print(f"{shape} {dtype}", flush=True)
    rows = to_rows("forward", shape, dtype, race(forward, seconds=seconds, rounds=5))
    return rows + to_rows("forward and backward", shape, dtype, race(training, seconds=seconds, rounds=3))


def check_parity(forward: Mapping[str, Any], training: Mapping[str, Any], dtype: torch.dtype) -> None:
    """Raise unless contenders with the same weights agree in outputs and in the input's gradient."""
    tolerance = 5e-4 if dtype == torch.float32 else 0.1
    same = [name for name in (REFERENCE, OLD) if name in forward]
    for name in same:
        torch.testing.assert_close(forward[OURS]()[0], forward[name]()[0], rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(training[OURS](), training[name](), rtol=tolerance, atol=tolerance)


def length_rows(seconds: float) -> list[dict[str, Any]]:
    """Measure the time per step of a short and a very long sequence."""
    rnn = SRU(512, 512, 1)
    rows = []
    for length in LENGTHS:
        calls = forward_calls({OURS: rnn}, torch.randn(length, 1, 512))
        rows += to_rows("length", (length, 1, 512), torch.float32, race({OURS: calls[OURS]}, seconds=seconds))
    return rows


def memory_rows() -> list[dict[str, Any]]:
    """Measure the peak memory of one training step, each contender in its own process."""
    length, batch, size = MEMORY_SHAPE
    program = """
import torch
from contenders import modules, training_calls
torch.manual_seed(0)
made = modules({size}, 1, torch.float32)
x = torch.randn({length}, {batch}, {size})
call = training_calls({{name: made[name] for name in dict.fromkeys(["sru_nn", {name!r}])}}, x)[{name!r}]
baseline()
call()
"""
    present = modules(4, 1, torch.float32)
    return [
        {
            "mode": "memory",
            "shape": MEMORY_SHAPE,
            "dtype": "float32",
            "layers": 1,
            "contender": name,
            "bytes": peak_memory(program.format(size=size, length=length, batch=batch, name=name)),
        }
        for name in present
    ]


def to_rows(
    mode: str, shape: tuple[int, int, int], dtype: torch.dtype, timings: Mapping[str, Timing], layers: int = 1
) -> list[dict[str, Any]]:
    """Flatten the timings of one race."""
    common = {"mode": mode, "shape": shape, "dtype": str(dtype).removeprefix("torch."), "layers": layers}
    return [{**common, "contender": name, **asdict(timing)} for name, timing in timings.items()]


if __name__ == "__main__":
    main()
