"""The gated linear recurrence on a CPU, kernels and chunks against the step-by-step reference.

`nox -s bench -- gated_linear`; takes several minutes. Checks that all outputs and gradients agree, then times
the implementations in turns and writes docs/benchmarks/gated-linear.json and .md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from measure import compare, race
from record import described, machine, save, save_targets, target
from torch import Tensor
from torch.nn import functional as F

from sru_nn import backend, functional, reference

SHAPES = [(512, 1, 1, 256), (512, 1, 4, 64), (512, 8, 4, 64), (512, 4, 8, 32), (2048, 4, 8, 32)]
"""(T, B, H, K), with V = K."""
GATES = {"open": 3.0, "shut": -3.0}
"""Added to the random inputs of the gates. Shut gates are so small that only short blocks can be divided."""
REFERENCE = "reference"
CHOICES = {"chunks": "reference", "kernels": "kernels"}
"""The implementations compared with the reference, each with its backend."""
TARGET, TARGET_LENGTH = 10.0, 512


def main() -> None:
    """Run the benchmark and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="time per shape, gates and mode")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="use only the first shapes")
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
    save_targets(options.out, "gated-linear", facts, judged(rows))


def shape_rows(shape: tuple[int, int, int, int], gates: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Measure one shape."""
    q, k, v, z = (torch.randn(shape) for _ in range(4))
    inputs = [tensor.requires_grad_() for tensor in (q, k, v, F.logsigmoid(z + GATES[gates]))]
    modes = {"forward": forward, "forward and backward": training}
    for mode, make in modes.items():
        calls = {REFERENCE: make(reference.gated_linear_recurrence, inputs)}
        for name, choice in CHOICES.items():
            calls[name] = on(choice, make(functional.gated_linear_recurrence, inputs))
        expected = calls[REFERENCE]()
        error = {name: compare(calls[name](), expected) for name in CHOICES}
        times = race(calls, seconds=seconds)
        found = {
            name: {"median": t.median, "low": t.low, "high": t.high, "rounds": t.rounds}
            for name, t in times.items()
        }
        yield {"shape": shape, "gates": gates, "mode": mode, "error": error, **found}


def on(choice: backend.Choice, call: Callable[[], list[Tensor]]) -> Callable[[], list[Tensor]]:
    """Return the call, run on a backend."""

    def chosen() -> list[Tensor]:
        with backend.using(choice):
            return call()

    return chosen


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
    """Yield the lines of the report."""
    yield "# The gated linear recurrence\n"
    yield f"Written by `nox -s bench -- gated_linear`: {described(facts)}.\n"
    yield "float32, V = K. Median milliseconds with quartiles in brackets, measured in turns, each followed"
    yield "by its speed relative to the reference. The reference takes one step at a time in plain PyTorch,"
    yield "the kernels take one step at a time in compiled code. Without kernels the recurrence runs in"
    yield "chunks of time, as matrix products. With z normal, *open* gates are σ(z + 3) and *shut* gates"
    yield "σ(z − 3); shut gates are so small that a chunk has to be assembled from short blocks. The error is"
    yield "the larger of the two, over all results, relative to the largest magnitude.\n"
    yield "| (T, B, H, K) | gates | mode | reference | chunks | | kernels | | error |"
    yield "| --- " * 9 + "|"
    for row in rows:
        times = " | ".join(f"{shown(row[name])} | {ratio(row, name):.1f}" for name in CHOICES)
        yield (
            f"| {tuple(row['shape'])} | {row['gates']} | {row['mode']} | {shown(row[REFERENCE])} | {times} "
            f"| {max(row['error'].values()):.1e} |"
        )


def judged(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the rows of the targets."""
    for name in CHOICES:
        ratios = [ratio(row, name) for row in rows if row["shape"][0] == TARGET_LENGTH]
        if not ratios:
            return
        reached = sum(found >= TARGET for found in ratios)
        measured = f"{min(ratios):.1f}x to {max(ratios):.1f}x, met in {reached} of {len(ratios)} cases"
        what = f"gated linear recurrence, {name} against the reference, T = {TARGET_LENGTH}"
        yield target(what, f"at least {TARGET:g}x", measured, reached == len(ratios))


def ratio(row: Mapping[str, Any], name: str) -> float:
    """Return the speed relative to the reference."""
    return float(row[REFERENCE]["median"] / row[name]["median"])


def shown(time: Mapping[str, float]) -> str:
    """Format a time in ms."""
    return f"{1e3 * time['median']:.3g} [{1e3 * time['low']:.3g}, {1e3 * time['high']:.3g}]"


if __name__ == "__main__":
    main()
