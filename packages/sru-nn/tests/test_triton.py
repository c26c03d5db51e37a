"""Tests specific to recurrences in Triton, in its interpreter: `nox -s tests-triton`."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sru_nn import SRU, GatedLinearRNN, MinGRU, backend
from sru_nn.functional import gated_linear_recurrence, mingru_recurrence, sru_recurrence

from .conftest import INTERPRETED

pytestmark = [
    pytest.mark.skipif(not INTERPRETED, reason="needs Triton's interpreter"),
    pytest.mark.usefixtures("_in_triton"),
]
D = 17  # columns, or keys and values of a head: no multiple of a block


@pytest.fixture
def _in_triton():
    with backend.using("triton"):
        yield


def arguments(name: str, total: int) -> tuple[Any, dict[str, Tensor]]:
    """A recurrence and its arguments for a number of positions."""
    if name == "mingru":
        return mingru_recurrence, {"u": torch.randn(total, 1, 2, D)}
    if name == "gated linear":
        q, k, z, v = torch.randn(4, total, 1, 1, D)
        return gated_linear_recurrence, {"q": q, "k": k, "v": v, "log_g": nn.functional.logsigmoid(z)}
    given = {"u": torch.randn(total, 1, 4, 2 * D), "v": torch.randn(2, 2 * D), "bias": torch.randn(2, 2 * D)}
    return lambda **options: sru_recurrence(**options, bidirectional=True), given


def outputs_and_gradients(function: Any, given: dict[str, Tensor], cu_seqlens: list[int]) -> list[Tensor]:
    leaves = {name: tensor.requires_grad_() for name, tensor in given.items()}
    outputs = function(**leaves, cu_seqlens=torch.tensor(cu_seqlens))
    return [*outputs, *torch.autograd.grad(sum(part.sum() for part in outputs), list(leaves.values()))]


SIZES = [("sru", 5, 12), ("mingru", 5, 12), ("gated linear", 40, 70)]


@pytest.mark.parametrize(("name", "middle", "total"), SIZES)
def test_wrong_offsets_are_kept_within_bounds(name, middle, total, monkeypatch):
    """On a GPU nothing checks them beforehand. Here the interpreter rejects accesses to other memory."""
    monkeypatch.setattr("sru_nn.functional.check_ends", lambda *_: None)
    function, given = arguments(name, total)
    right = outputs_and_gradients(function, given, [0, middle, total])
    far = 2**62
    for offsets in ([-3, middle, total + 5], [-far, middle, far]):
        torch.testing.assert_close(outputs_and_gradients(function, given, offsets), right, rtol=0, atol=0)
    late = total - 4
    for offsets in ([late, 3, total], [total, middle, 0], [far, -far, total], [late, late, late + 1]):
        shapes = [part.shape for part in outputs_and_gradients(function, given, offsets)]
        assert shapes == [part.shape for part in right]


MODULES = {
    "sru": lambda: SRU(5, 8, 1, bidirectional=True, use_tanh=True),
    "mingru": lambda: MinGRU(5, 8, 1),
    "gated_linear": lambda: GatedLinearRNN(5, 8, 1, num_heads=2, key_size=3),
}
# The operators in a graph; those of the minimal GRU are the SRU's.
OPERATORS = {"sru": "sru", "mingru": "sru", "gated_linear": "gated_linear"}


# Forms of input that use different operators, or reach them in different ways.
GRAPHS = [
    ("sru", "rows"),
    ("sru", "end to end"),
    ("mingru", "resets"),
    ("gated_linear", "rows"),
    ("gated_linear", "resets"),
    ("gated_linear", "end to end"),
]


@pytest.mark.parametrize(("name", "form"), GRAPHS)
def test_a_full_graph_runs_in_triton(name, form, monkeypatch):
    """One graph for all lengths, with the operators in it, forward and backward."""
    from torch._dynamo.testing import CompileCounterWithBackend  # which imports the compiler

    operator = OPERATORS[name]
    triton, ran = importlib.import_module(f"sru_nn.cells.{operator}.triton"), []
    for way in ("forward", "backward"):
        run = getattr(triton, way)
        monkeypatch.setattr(triton, way, lambda *args, run=run, way=way: ran.append(way) or run(*args))
    module, counter = MODULES[name]().double(), CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=counter)
    for length, batch in [(7, 6), (9, 7)]:  # none is a size of a module
        x, options = inputs(form, length, batch)
        x.requires_grad_()
        with torch._dynamo.config.patch(error_on_recompile=True):
            actual = results_and_gradients(compiled, module, x, options)
        assert ran == ["forward", "backward"]
        with backend.using("reference"):
            expected = results_and_gradients(module, module, x, options)
        torch.testing.assert_close(actual, expected)
        ran.clear()
    torch._dynamo.reset()
    called = [str(node.target) for node in counter.graphs[-1].graph.nodes if "sru_nn" in str(node.target)]
    pieces = "" if form == "rows" else "_pieces"
    assert called.count(f"sru_nn.{operator}{pieces}_forward") == 1


def inputs(form: str, length: int, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
    randn = partial(torch.randn, dtype=torch.float64)
    if form == "rows":
        return randn(length, batch, 5), {"mask_pad": torch.rand(length, batch) < 0.3}
    if form == "resets":
        return randn(length, batch, 5), {"reset": torch.rand(length, batch) < 0.3}
    cu_seqlens = 2 * torch.arange(batch + 5)
    return randn(int(cu_seqlens[-1]), 5), {"cu_seqlens": cu_seqlens}


def results_and_gradients(run: Any, module: nn.Module, x: Tensor, options: dict[str, Tensor]) -> list[Tensor]:
    h, state = run(x, **options)
    total = h.square().sum() + state.square().sum()
    return [h, state, *torch.autograd.grad(total, [x, *module.parameters()])]
