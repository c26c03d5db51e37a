"""The gated linear recurrence by chunks against its reference, step by step, on a CPU.

`python packages/sru-nn/benchmarks/bench_gated_linear.py` from the root of the repository, in the environment
of `nox -s bench`; takes some minutes. Checks that both agree, outputs and gradients, then times them in turns
and writes docs/benchmarks/gated-linear.json and .md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from measure import race
from record import described, machine, save
from torch import Tensor
from torch.nn import functional as F

from sru_nn import functional, reference

SHAPES = [(512, 1, 1, 256), (512, 1, 4, 64), (512, 8, 4, 64), (512, 4, 8, 32), (2048, 4, 8, 32)]
"""(T, B, H, K), with V = K."""
GATES = {"open": 3.0, "shut": -3.0}
"""What is added to random inputs of the gates; by the second ones only short blocks can be divided."""
REFERENCE, CHUNKS = "reference", "chunks"
FUNCTIONS = {REFERENCE: reference.gated_linear_recurrence, CHUNKS: functional.gated_linear_recurrence}
TARGET, TARGET_LENGTH = 10.0, 512


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="time for each shape, gates and mode")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="only the first so many")
    options = parser.parse_args()
    torch.manual_seed(0)
    facts = machine("cpu")
    rows = [
        row
        for shape in SHAPES[: options.shapes]
        for gates in GATES
        for row in shape_rows(shape, gates, options.seconds)
    ]
    save(options.out, "gated-linear", {"machine": facts, "rows": rows}, page(facts, rows))


def shape_rows(shape: tuple[int, int, int, int], gates: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Measure one shape."""
    q, k, v, z = (torch.randn(shape) for _ in range(4))
    inputs = [tensor.requires_grad_() for tensor in (q, k, v, F.logsigmoid(z + GATES[gates]))]
    modes = {"forward": forward, "forward and backward": training}
    for mode, make in modes.items():
        calls = {name: make(function, inputs) for name, function in FUNCTIONS.items()}
        error = compare(calls[CHUNKS](), calls[REFERENCE]())
        times = race(calls, seconds=seconds)
        found = {
            name: {"median": t.median, "low": t.low, "high": t.high, "rounds": t.rounds}
            for name, t in times.items()
        }
        yield {"shape": shape, "gates": gates, "mode": mode, "error": error, **found}


def compare(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Return the largest error, each relative to the largest number of its tensor; raise if it is large."""
    errors = [
        float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in zip(ours, theirs, strict=True)
    ]
    worst = max(errors)
    assert math.isfinite(worst), worst
    assert worst < 1e-4, worst
    return worst


def forward(
    function: Callable[..., tuple[Tensor, Tensor]], inputs: list[Tensor]
) -> Callable[[], list[Tensor]]:
    """Return a call that returns the outputs and the last state."""

    def call() -> list[Tensor]:
        with torch.inference_mode():
            return list(function(*inputs))

    return call


def training(
    function: Callable[..., tuple[Tensor, Tensor]], inputs: list[Tensor]
) -> Callable[[], list[Tensor]]:
    """Return a call that returns the gradients."""
    gradient = torch.randn(inputs[2].shape, generator=torch.Generator().manual_seed(0))

    def call() -> list[Tensor]:
        return list(torch.autograd.grad(function(*inputs)[0], inputs, gradient))

    return call


def page(facts: Mapping[str, str], rows: list[dict[str, Any]]) -> Iterator[str]:
    """Write the report."""
    yield "# The gated linear recurrence by chunks\n"
    yield f"Written by `nox -s bench -- gated_linear`: {described(facts)}.\n"
    yield "float32, V = K; medians in ms, quartiles in brackets, in turns. The reference takes one step after"
    yield "the other. Gates are σ(z + 3) where they are *open* and σ(z − 3) where *shut*, z normal; the"
    yield "latter are so small that chunks have to be joined from short blocks. The error is the largest"
    yield "of all results, relative to the largest number of each.\n"
    yield "| (T, B, H, K) | gates | mode | reference | chunks | times as fast | error |"
    yield "| --- " * 7 + "|"
    for row in rows:
        yield (
            f"| {tuple(row['shape'])} | {row['gates']} | {row['mode']} | {shown(row[REFERENCE])} "
            f"| {shown(row[CHUNKS])} | {ratio(row):.1f} | {row['error']:.1e} |"
        )
    judged = [row for row in rows if row["shape"][0] == TARGET_LENGTH]
    missed = [row for row in judged if ratio(row) < TARGET]
    yield f"\nTarget, {TARGET:g} times as fast at T = {TARGET_LENGTH}: reached in {len(judged) - len(missed)}"
    yield f"of {len(judged)} rows; from {min(map(ratio, judged)):.1f} to {max(map(ratio, judged)):.1f} times."


def ratio(row: Mapping[str, Any]) -> float:
    """Return how many times as fast the chunks are."""
    return float(row[REFERENCE]["median"] / row[CHUNKS]["median"])


def shown(time: Mapping[str, float]) -> str:
    """Put a time into ms."""
    return f"{1e3 * time['median']:.3g} [{1e3 * time['low']:.3g}, {1e3 * time['high']:.3g}]"


if __name__ == "__main__":
    main()
