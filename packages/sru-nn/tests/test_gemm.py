"""The projection through oneDNN: the same results as `nn.Linear`, and only where it may step in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sru_nn import SRU
from sru_nn import gemm as linear

from .conftest import looks_at_grad

pytestmark = pytest.mark.skipif(not linear._has_onednn(), reason="this PyTorch was built without oneDNN")


@pytest.fixture
def onednn(monkeypatch):
    """Choose oneDNN, and return the list of the shapes it was given."""
    calls = []
    apply = linear._OneDNNLinear.apply

    class Recorder:
        @staticmethod
        def apply(x, weight):
            calls.append((tuple(x.shape), tuple(weight.shape)))
            return apply(x, weight)

    monkeypatch.setattr(linear, "_chosen", True)
    monkeypatch.setattr(linear, "_OneDNNLinear", Recorder)
    return calls


def gradients(function, module, x):
    x = x.detach().clone().requires_grad_()
    module.zero_grad()
    y = function(x)
    (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
    return [y, x.grad, *(parameter.grad for parameter in module.parameters())]


@pytest.mark.parametrize("shape", [(7, 5), (4, 3, 5), (1, 5), (0, 5)])
def test_the_same_outputs_and_gradients(onednn, shape):
    module, x = nn.Linear(5, 6, bias=False), torch.randn(shape)
    ours = gradients(lambda x: linear.project(module, x), module, x)
    assert ((shape, (6, 5)) in onednn) == (shape[0] > 0)  # oneDNN takes no empty matrix
    for actual, expected in zip(ours, gradients(module, module, x), strict=True):
        torch.testing.assert_close(actual, expected)


def test_second_derivatives(onednn):
    module, x = nn.Linear(3, 4, bias=False), torch.randn(2, 3, requires_grad=True)
    outcomes = []
    for function in (lambda x: linear.project(module, x), module):
        (gradient,) = torch.autograd.grad(function(x).pow(3).sum(), x, create_graph=True)
        outcomes.append(torch.autograd.grad(gradient.square().sum(), [x, module.weight]))
    assert onednn
    for actual, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("options", [{}, {"projection_size": 2}, {"bidirectional": True}])
def test_a_whole_module_is_the_same(onednn, options):
    rnn, x = SRU(5, 4, 2, **options), torch.randn(6, 3, 5)
    ours = gradients(lambda x: rnn(x)[0], rnn, x)
    assert len(onednn) >= 2
    linear_calls = len(onednn)
    linear._chosen = False  # the fixture restores it
    for actual, expected in zip(ours, gradients(lambda x: rnn(x)[0], rnn, x), strict=True):
        torch.testing.assert_close(actual, expected)
    assert len(onednn) == linear_calls


class Adapted(nn.Linear):
    """A modified projection."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) * 2


@pytest.mark.parametrize(
    ("module", "dtype"),
    [
        (Adapted(5, 6, bias=False), torch.float32),
        (nn.Linear(5, 6), torch.float32),
        (nn.Linear(5, 6, bias=False).double(), torch.float64),
    ],
    ids=["subclass", "bias", "float64"],
)
def test_any_other_module_runs_as_it_is(onednn, module, dtype):
    x = torch.randn(2, 5, dtype=dtype)
    assert torch.equal(linear.project(module, x), module(x))
    assert not onednn


def test_autocast_and_function_transforms_run_the_module(onednn):
    module, x = nn.Linear(5, 6, bias=False), torch.randn(3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear.project(module, x).dtype == torch.bfloat16
    mapped = torch.func.vmap(lambda row: linear.project(module, row))(x)
    torch.testing.assert_close(mapped, module(x))
    assert not onednn


@pytest.mark.compile
@looks_at_grad
@pytest.mark.skipif(
    not hasattr(torch.compiler, "is_exporting"), reason="before torch 2.7 F.linear is compiled"
)
def test_a_compiled_graph_multiplies_through_onednn_and_an_exported_one_does_not(onednn):
    module, x = nn.Linear(5, 6, bias=False), torch.randn(4, 3, 5)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph.code)
        return graph

    compiled = torch.compile(lambda x: linear.project(module, x), backend=backend, fullgraph=True)
    for actual, expected in zip(gradients(compiled, module, x), gradients(module, module, x), strict=True):
        torch.testing.assert_close(actual, expected)
    assert "sru_nn.onednn_linear" in graphs[0]
    torch.library.opcheck(torch.ops.sru_nn.onednn_linear, (x.requires_grad_(), module.weight))
    program = torch.export.export(SRU(5, 5, 1).eval(), (x.detach(),))
    assert "onednn" not in program.graph_module.code


def choice_of(cpuinfo: str, monkeypatch) -> bool:
    monkeypatch.delenv(linear.VARIABLE, raising=False)
    monkeypatch.setattr(linear.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(linear.torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(Path, "read_text", lambda self: cpuinfo)
    return linear._choose_onednn()


def test_the_maker_of_the_processor_decides(monkeypatch):
    assert choice_of("vendor_id : AuthenticAMD", monkeypatch)
    assert not choice_of("vendor_id : GenuineIntel", monkeypatch)


def test_a_wrong_choice():
    program = "import torch; from sru_nn import SRU; SRU(2, 2)(torch.zeros(1, 1, 2))"
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, linear.VARIABLE: "mkl"},
        capture_output=True,
        text=True,
    )
    assert "SRU_NN_GEMM must be auto, onednn or torch, got 'mkl'" in result.stderr


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_without_a_module(monkeypatch, onednn, dtype):
    monkeypatch.setattr(linear, "_chosen", onednn)
    a, b = torch.randn(5, 3).to(dtype), torch.randn(4, 3).to(dtype)
    wanted = a.float() @ b.float().t()
    close = {"rtol": 1e-2, "atol": 3e-2} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(linear.multiply(a, b).float(), wanted, **close)
    out = torch.ones(5, 4)
    linear.add_product_(out, a, b.t())
    torch.testing.assert_close(out, wanted + 1, **close)


@pytest.mark.parametrize("small", [0, 1 << 20])
@pytest.mark.parametrize("rows", [1, 4, 5, 32, 33])
def test_few_rows(monkeypatch, onednn, rows, small):
    monkeypatch.setattr(linear, "_SMALL_WEIGHT", small)
    module, x = nn.Linear(70, 90, bias=False), torch.randn(rows, 1, 70)
    ours = gradients(lambda x: linear.project(module, x), module, x)
    assert ours[0].is_contiguous()
    for actual, expected in zip(ours, gradients(module, module, x), strict=True):
        torch.testing.assert_close(actual, expected)
    steps = module.weight[:, None].expand(90, 1, 70)[:, 0, :]  # a view with strides of its own
    torch.testing.assert_close(linear.multiply(x, steps), module(x))
