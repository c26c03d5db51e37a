"""Lower bounds on the time of an SRU layer on the CPU: the matrix product, memory traffic, and Python.

`python packages/sru-nn/benchmarks/bench_floor.py` in the environment of `nox -s bench`; prints Markdown.
"""

from __future__ import annotations

import functools

import torch
from measure import race
from record import described, machine
from torch.nn import functional as F

from sru_nn import SRU, gemm
from sru_nn.cells.sru import operator as ops

SHAPES = [(128, 32, 512), (256, 32, 1024), (1024, 1, 1024), (512, 16, 256)]
WEIGHTS = [(1024, 512), (1536, 512), (4096, 1024), (10_000, 256)]


def main() -> None:
    """Run the benchmark and print the tables."""
    torch.manual_seed(0)
    print(f"{described(machine('cpu'))}. Milliseconds, medians.\n")
    names = ["product, F.linear", "product, oneDNN", "forward recurrence", "copy of the same bytes"]
    names += ["backward recurrence", "copy of the same bytes, backward"]
    print("| (T, B, D) | " + " | ".join(names) + " |\n" + "| --- " * (len(names) + 1) + "|")
    for shape in SHAPES:
        times = layer(*shape)
        print(f"| {shape} | " + " | ".join(f"{times[name]:.3g}" for name in names) + " |")
    print("\n| rows, weight | F.linear | oneDNN | `sru_nn.gemm` on a non-Intel processor |")
    print("| --- | --- | --- | --- |")
    for case, times in few_rows().items():
        print(f"| {case} | " + " | ".join(f"{milliseconds:.3g}" for milliseconds in times) + " |")
    print("\n| one step, 1 layer | ms |\n| --- | --- |")
    for name, milliseconds in step().items():
        print(f"| {name} | {milliseconds:.3f} |")


@torch.inference_mode()
def layer(length: int, batch: int, size: int) -> dict[str, float]:
    """Time the parts of one layer, and copies of the same number of bytes as the recurrence moves."""
    x, weight = torch.randn(length, batch, size), torch.randn(3 * size, size)
    u, v, bias = torch.randn(length, batch, 3, size), torch.randn(2, size), torch.randn(2, size)
    inputs = ops.Inputs(u, v, bias, None, x, None, None, False, "identity", 1.3)
    h, _, c = torch.ops.sru_nn.sru_forward(*inputs, True)
    # The forward pass moves six arrays of the size of x, the backward pass ten; a copy moves two.
    three, five = (torch.randn(n * x.numel()) for n in (3, 5))
    to_three, to_five = three.clone(), five.clone()
    calls = {
        "product, F.linear": lambda: F.linear(x, weight),
        "product, oneDNN": lambda: gemm._onednn(x, weight),
        "forward recurrence": lambda: torch.ops.sru_nn.sru_forward(*inputs, True),
        "copy of the same bytes": lambda: to_three.copy_(three),
        "backward recurrence": lambda: torch.ops.sru_nn.sru_backward(*inputs, c, h, None),
        "copy of the same bytes, backward": lambda: to_five.copy_(five),
    }
    return {name: 1e3 * timing.median for name, timing in race(calls, seconds=2).items()}


@torch.inference_mode()
def few_rows() -> dict[str, list[float]]:
    """Time products with a few rows, as in a decoding step or a chunk of a stream."""
    found = {}
    for outputs, inputs in WEIGHTS:
        weight = torch.randn(outputs, inputs)
        for rows in (1, 2, 4, 8, 16, 32):
            x = torch.randn(rows, inputs)
            calls = {
                "F.linear": functools.partial(F.linear, x, weight),
                "oneDNN": functools.partial(gemm._onednn, x, weight),
                "sru_nn": functools.partial(gemm._multiply, x, weight),
            }
            times = race(calls, seconds=1)
            found[f"{rows}, ({outputs}, {inputs})"] = [1e3 * timing.median for timing in times.values()]
    return found


def step() -> dict[str, float]:
    """Time a decoding step, its matrix product alone, and a step with almost no computation."""
    rnn, tiny = SRU(1024, 1024, 1), SRU(16, 16, 1)
    weight = rnn.rnn_lst[0].transform.weight.detach()  # type: ignore[union-attr]
    x, small = torch.randn(1, 1, 1024), torch.randn(1, 1, 16)
    with torch.inference_mode():
        c, c_small = rnn(x)[1], tiny(small)[1]
        calls = {
            "one layer, D = 1024": lambda: rnn(x, c),
            "its product alone": lambda: F.linear(x, weight),
            "one layer, D = 16": lambda: tiny(small, c_small),
        }
        times = race(calls, seconds=2, shortest=0.05)
    return {name: 1e3 * timing.median for name, timing in times.items()}


if __name__ == "__main__":
    main()
