"""`torch.compile` against eager mode: `nox -s bench -- compile`.

Needs a C++ compiler. Checks that both agree, times them in turns on the shapes of the SRU benchmark, and
writes docs/benchmarks/compile.json and .md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from bench_sru import SHAPES
from measure import race
from record import described, machine, save, save_targets, target
from torch import Tensor

from sru_nn import SRU

EAGER, COMPILED = "eager", "compiled"
TARGET = 1.05


def main() -> None:
    """Run the benchmark and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="time per shape and mode")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="use only the first shapes")
    options = parser.parse_args()
    torch.manual_seed(0)
    facts = machine("cpu")
    rows = [row for shape in SHAPES[: options.shapes] for row in shape_rows(shape, options.seconds)]
    save(options.out, "compile", {"machine": facts, "rows": rows}, page(facts, rows))
    save_targets(options.out, "compile", facts, [judged(rows)])


def shape_rows(shape: tuple[int, int, int], seconds: float) -> Iterator[dict[str, Any]]:
    """Measure one shape (T, B, D), two layers."""
    torch.compiler.reset()  # otherwise the new module would count as a recompilation
    length, batch, size = shape
    rnn, x = SRU(size, size, 2), torch.randn(length, batch, size)
    modules = {EAGER: rnn, COMPILED: torch.compile(rnn, fullgraph=True, dynamic=True)}
    modes = {"forward": forward, "forward and backward": training}
    for mode, make in modes.items():
        calls = {name: make(module, x) for name, module in modules.items()}
        torch.testing.assert_close(calls[COMPILED](), calls[EAGER](), rtol=1e-4, atol=1e-4)
        times = race(calls, seconds=seconds)
        yield {"shape": shape, "mode": mode, **{name: t.median for name, t in times.items()}}


def forward(module: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor) -> Callable[[], Tensor]:
    """Return a call that returns the outputs."""

    def call() -> Tensor:
        with torch.inference_mode():
            return module(x)[0]

    return call


def training(module: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor) -> Callable[[], Tensor]:
    """Return a call that computes all gradients and returns the gradient of the input."""
    inputs, gradient = x.clone().requires_grad_(), torch.ones_like(x)

    def call() -> Tensor:
        inputs.grad = None
        module(inputs)[0].backward(gradient)  # type: ignore[no-untyped-call]
        assert inputs.grad is not None
        return inputs.grad

    return call


def page(facts: Mapping[str, str], rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "# Compiled and eager code\n"
    yield f"Written by `nox -s bench -- compile`: {described(facts)}.\n"
    yield "Two layers, float32, `torch.compile(fullgraph=True, dynamic=True)`; medians in ms, in turns.\n"
    yield "| (T, B, D) | mode | eager | compiled | compiled / eager |"
    yield "| --- " * 5 + "|"
    for row in rows:
        ratio = row[COMPILED] / row[EAGER]
        yield (
            f"| {row['shape']} | {row['mode']} | {1e3 * row[EAGER]:.3g} | {1e3 * row[COMPILED]:.3g} "
            f"| {ratio:.3f} |"
        )


def judged(rows: list[dict[str, Any]]) -> str:
    """Return the target's row."""
    worst = max(row[COMPILED] / row[EAGER] for row in rows)
    return target("compiled over eager, worst case", f"at most {TARGET:g}", f"{worst:.3f}", worst <= TARGET)


if __name__ == "__main__":
    main()
