"""Our modules in PyTorch's FLOP counter and profiler."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils import flop_counter

from sru_nn import SRU, GatedLinearRNN, LiGRU, MinGRU, SLiGRU, SRUpp, flops
from sru_nn.compat import LSTM

from .conftest import CHOICES

T, B, E, D = 5, 3, 6, 4
NORM = 2 * D * 5  # of the product with the state: mean, centre, square and sum, scale

# The operations of each step and sequence, counted in the equations.
CASES: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    # f, r: a product, two sums and a sigmoid each. c: two products, a difference and a sum, and so is h.
    "SRU": (lambda: SRU(E, D, 2), "sru", 2 * D * (4 + 4 + 4 + 4)),
    "SRU, tanh, no highway": (lambda: SRU(E, D, 1, use_tanh=True, has_skip_term=False), "sru", D * (12 + 2)),
    "SRU, rescaled": (lambda: SRU(D, D, 1, rescale=True), "sru", D * (16 + 1)),
    "SRU++": (lambda: SRUpp(E, D, 2, 1), "sru", D * 16),
    "LSTM": (lambda: LSTM(E, D, bidirectional=True), "sru", 2 * D * 16),
    "minGRU": (lambda: MinGRU(E, D, 1), "sru", D * (12 + 1)),  # as the SRU that computes it
    # g: an activation. S: two products and a sum. o: a product and a sum.
    "gated linear": (
        lambda: GatedLinearRNN(E, D, 1, num_heads=2, key_size=3),
        "gated_linear",
        2 * 3 * (1 + 5 * 2),
    ),
    # U h: 2·D·D products and as many sums. Then two sums, two activations, and four for h.
    "Li-GRU": (lambda: LiGRU(E, D, bidirectional=True), "ligru", 2 * (4 * D * D + 8 * D)),
    "SLi-GRU": (lambda: SLiGRU(E, D), "ligru", 4 * D * D + 8 * D + NORM),
}


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize(("build", "name", "operations"), CASES.values(), ids=CASES)
def test_operations(build: Callable[[], nn.Module], name: str, operations: int):
    module = build()
    x = torch.randn(T, B, module.input_size)
    with flop_counter.FlopCounterMode(display=False) as counter:
        module(x)[0].sum().backward()
    counts = {
        str(operator).removeprefix("sru_nn."): found
        for operator, found in counter.get_flop_counts()["Global"].items()
    }
    assert counts[f"{name}_forward"] == T * B * operations
    assert counts[f"{name}_backward"] == 2 * T * B * operations


def test_a_counter_that_was_imported_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(flop_counter, "flop_registry", {})
    monkeypatch.setattr(flops, "_formulas", {})
    operator = torch.ops.sru_nn.sru_forward
    flops.register(operator, lambda *args: 3)
    assert flop_counter.flop_registry[operator](1, 2, out_val=None) == 3


def test_formulas_are_registered_when_the_counter_is_imported():
    program = """
import importlib.util, sru_nn, torch
importlib.util.find_spec("torch.utils.flop_counter")
from torch.utils import flop_counter
print(torch.ops.sru_nn.sru_forward in flop_counter.flop_registry)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "True\n"


def events(run: Callable[[], object]) -> set[str]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    return {event.name for event in profile.events()}


@pytest.mark.skipif(
    "kernels" not in CHOICES, reason="without the kernels an SRU is a loop over PyTorch's operators"
)
def test_the_names_in_a_profile():
    module, x = SRU(E, D, 1), torch.randn(T, B, E)
    names = events(lambda: module(x)[0].sum().backward())
    assert {"sru_nn::sru_forward", "sru_nn::sru_backward", "SruBackward"} <= names
    with torch.no_grad():
        assert "sru_nn::sru_forward" in events(lambda: module(x))
        assert "sru_nn::sru_step" in events(lambda: module.step(x[0]))
