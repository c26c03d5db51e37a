"""Li-GRU and SLi-GRU on a CPU against PyTorch's units, SpeechBrain's layer and the bare products.

`nox -s bench -- ligru`; takes an hour, mostly for the loops of the other implementations. Checks that
contenders with the same weights agree, then times all contenders in turns and writes
docs/benchmarks/ligru.json and .md.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from contenders_ligru import (
    BATCH,
    COMPILED,
    INPUTS,
    OURS,
    PRODUCTS,
    SAME,
    SIZE,
    STABLE,
    forward_calls,
    modules,
    products,
    sequences,
    step_calls,
    training_calls,
)
from measure import Timing, compare, peak_memory, race
from record import machine, save, save_targets
from report_ligru import page, targets
from torch import nn

from sru_nn import SLiGRU

LENGTHS = (100, 500, 1000, 3000)
COMPILED_LENGTH = 100
"""torch.compile unrolls a Python loop, and takes minutes even for this length."""
LONGEST_OF_LOOPS = 1000
"""At 3000 steps, the backward pass of a loop that indexes its input would take several minutes."""
MEMORY_LENGTH, PARITY_LENGTH = 500, 100
PUBLISHED_LENGTHS, PUBLISHED_LAYERS = (100, 500, 1000, 2000, 3000), 4


def main() -> None:
    """Run everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="time per length and mode")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="lengths of the sequences")
    parser.add_argument(
        "--dtypes", nargs="+", default=["float32", "bfloat16"], help="dtypes of the sequences"
    )
    parser.add_argument(
        "--compiled",
        action="store_true",
        help=f"also SpeechBrain's layer compiled for {COMPILED_LENGTH} steps",
    )
    options = parser.parse_args()
    torch.manual_seed(0)
    facts = machine("cpu")
    error = parity()
    rows: list[dict[str, Any]] = []
    for dtype in (getattr(torch, name) for name in options.dtypes):
        for length in options.lengths:
            compiled = options.compiled and length == COMPILED_LENGTH
            rows += sequence_rows(length, dtype, options.seconds, compiled=compiled)
    rows += deep_rows([length for length in PUBLISHED_LENGTHS if length <= max(options.lengths)])
    rows += to_rows("step", 1, torch.float32, race(step_calls(), seconds=options.seconds, shortest=0.05))
    rows += memory_rows()
    result = {"machine": facts, "error": error, "has AMX": has_amx(), "rows": rows}
    save(options.out, "ligru", result, page(result))
    save_targets(options.out, "ligru", facts, targets(result))


def parity() -> float:
    """Return the largest error of outputs and gradients among contenders with the same weights."""
    made = {name: module for name, module in modules(scripted=False).items() if name in (OURS, *SAME)}
    x = sequences(PARITY_LENGTH, torch.float32)
    forward, training = forward_calls(made, x), training_calls(made, x)
    found: dict[str, list[Any]] = {name: [forward[name](), training[name]()] for name in made}
    return max(compare(found[OURS], found[name]) for name in made if name != OURS)


def sequence_rows(length: int, dtype: torch.dtype, seconds: float, *, compiled: bool) -> list[dict[str, Any]]:
    """Measure inference and training of one layer."""
    print(f"{length} {dtype}", flush=True)
    x, made = sequences(length, dtype), modules(dtype)
    if not compiled:
        made.pop(COMPILED, None)
    trained = {name: made[name] for name in made if name not in SAME or length <= LONGEST_OF_LOOPS}
    modes = {"forward": forward_calls(made, x), "forward and backward": training_calls(trained, x)}
    rows = []
    for mode, calls in modes.items():
        if COMPILED in calls:  # the first call compiles for one count of masks drawn, the second for any
            for _ in range(2):
                calls[COMPILED]()
        calls[PRODUCTS] = products(x, training=mode != "forward")
        rows += to_rows(mode, length, dtype, race(calls, seconds=seconds, rounds=3))
    return rows


def deep_rows(lengths: list[int]) -> list[dict[str, Any]]:
    """Measure the network with published GPU times: an SLi-GRU with four layers."""
    made: dict[str, nn.Module] = {STABLE: SLiGRU(INPUTS, SIZE, PUBLISHED_LAYERS)}
    rows = []
    for length in lengths:
        x = sequences(length, torch.float32)
        for mode, calls in [
            ("forward", forward_calls(made, x)),
            ("forward and backward", training_calls(made, x)),
        ]:
            times = race(calls, seconds=1.0, rounds=3)
            rows += to_rows(mode, length, torch.float32, times, PUBLISHED_LAYERS)
    return rows


def memory_rows() -> list[dict[str, Any]]:
    """Measure the peak memory of one training step, each contender in its own process."""
    program = f"""
import torch
from contenders_ligru import modules, sequences, training_calls
torch.manual_seed(0)
made, x = modules(scripted=False), sequences({MEMORY_LENGTH}, torch.float32)
call = training_calls({{{{{{name!r}}: made[{{name!r}}]}}}}, x)[{{name!r}}]
baseline()
call()
"""
    names = [name for name in modules(scripted=False) if name not in SAME[2:]]
    common = {"mode": "memory", "length": MEMORY_LENGTH, "dtype": "float32", "layers": 1}
    return [{**common, "contender": name, "bytes": peak_memory(program.format(name=name))} for name in names]


def to_rows(
    mode: str, length: int, dtype: torch.dtype, timings: Mapping[str, Timing], layers: int = 1
) -> list[dict[str, Any]]:
    """Flatten the timings of one race."""
    common = {"mode": mode, "length": length, "dtype": str(dtype).removeprefix("torch."), "layers": layers}
    shape = {"batch": 1 if mode == "step" else BATCH, "inputs": INPUTS, "size": SIZE}
    return [{**common, **shape, "contender": name, **asdict(timing)} for name, timing in timings.items()]


def has_amx() -> bool:
    """Return whether the processor has AMX for bfloat16."""
    return "amx_bf16" in Path("/proc/cpuinfo").read_text()


if __name__ == "__main__":
    main()
