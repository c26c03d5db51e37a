"""Tests that need a CUDA device; `nox -s tests-gpu` runs them, and they fail without one.

The arithmetic of the kernels is tested without a GPU, in the package sru-kernels.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sru_nn import SRU, GatedLinearRNN, LiGRU, SLiGRU, backend
from sru_nn.functional import ligru_recurrence, sru_recurrence
from sru_nn.pieces import launch_order

from .conftest import STACK_TOLERANCES

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True, params=["kernels", "triton"])
def _fast(request):
    """Never the reference: a build without CUDA kernels must fail here."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    with backend.using(request.param):
        yield
    torch.backends.cuda.matmul.allow_tf32 = allowed


def run(rnn: SRU | GatedLinearRNN | LiGRU, x: Tensor, lengths: Tensor, upstream: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    h, c = rnn(pack_padded_sequence(x, lengths, enforce_sorted=False))
    h, _ = pad_packed_sequence(h)
    h.backward(upstream)
    return [h, c, x.grad, *(parameter.grad for parameter in rnn.parameters())]


@pytest.mark.parametrize("hidden_size", [17, 64])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("dtype", STACK_TOLERANCES, ids=str)
def test_outputs_and_gradients(bidirectional, dtype, hidden_size):
    rnn = SRU(33, hidden_size, 2, bidirectional=bidirectional, layer_norm=True).to(dtype)
    exact = copy.deepcopy(rnn).double()
    x, lengths = torch.randn(21, 5, 33, dtype=dtype), torch.tensor([3, 21, 7, 1, 20])
    upstream = torch.randn(21, 5, rnn.output_size, dtype=dtype)
    with backend.using("reference"):
        expected = run(exact, x.double(), lengths, upstream.double())
    actual = run(rnn.cuda(), x.cuda(), lengths, upstream.cuda())
    rtol, atol = STACK_TOLERANCES[dtype]
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours.double().cpu(), theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("num_heads", [1, 2])  # too large for the kernels, and as large as they take
@pytest.mark.parametrize("dtype", STACK_TOLERANCES, ids=str)
def test_gated_linear_rnn(dtype, num_heads):
    rnn = GatedLinearRNN(33, 128, 2, num_heads=num_heads).to(dtype)
    exact = copy.deepcopy(rnn).double()
    x, lengths = torch.randn(70, 5, 33, dtype=dtype), torch.tensor([3, 70, 7, 1, 20])
    upstream = torch.randn(70, 5, 128, dtype=dtype)
    with backend.using("reference"):
        expected = run(exact, x.double(), lengths, upstream.double())
    actual = run(rnn.cuda(), x.cuda(), lengths, upstream.cuda())
    rtol, atol = STACK_TOLERANCES[dtype]
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours.double().cpu(), theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("hidden_size", [17, 64])
@pytest.mark.parametrize("norm_eps", [None, 1e-5])
@pytest.mark.parametrize("dtype", STACK_TOLERANCES, ids=str)
def test_ligru_recurrence(dtype, norm_eps, hidden_size):
    """Every gradient, through tanh, which has no edge that rounding could cross."""
    small = {"h0": (5, 2 * hidden_size), "h_reset": (2 * hidden_size,)}
    if norm_eps is not None:
        small |= dict.fromkeys(("norm_weight", "norm_bias"), (2 * hidden_size,))
    inputs = {name: torch.randn(shape, dtype=dtype) for name, shape in small.items()}
    inputs["u"] = torch.randn(21, 5, 2, hidden_size, dtype=dtype)
    inputs["weight"] = torch.randn(2 * hidden_size, hidden_size).div(hidden_size**0.5).to(dtype)
    masks = {"mask_pad": torch.rand(21, 5) < 0.2, "reset": torch.rand(21, 5) < 0.1}
    upstream = torch.randn(21, 5, 2 * hidden_size, dtype=dtype)

    def results(device: str, dtype: torch.dtype) -> list[Tensor]:
        given = {name: x.to(device, dtype).requires_grad_() for name, x in inputs.items()}
        options = {name: x.to(device) for name, x in masks.items()}
        h, last = ligru_recurrence(
            **given, **options, bidirectional=True, activation="tanh", norm_eps=norm_eps
        )
        ((h * upstream.to(h)).sum() + last.sum()).backward()
        return [h, last, *(x.grad for x in given.values())]

    with backend.using("reference"):
        expected = results("cpu", torch.float64)
    rtol, atol = STACK_TOLERANCES[dtype]
    for ours, theirs in zip(results("cuda", dtype), expected, strict=True):
        torch.testing.assert_close(ours.double().cpu(), theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("kind", [LiGRU, SLiGRU])
def test_light_grus(kind):
    rnn = kind(33, 64, 2, bidirectional=True)
    exact = copy.deepcopy(rnn).double()
    x, lengths = torch.randn(21, 5, 33), torch.tensor([3, 21, 7, 1, 20])
    upstream = torch.randn(21, 5, 128)
    with backend.using("reference"):
        expected = run(exact, x.double(), lengths, upstream.double())
    actual = run(rnn.cuda(), x.cuda(), lengths, upstream.cuda())
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours.double().cpu(), theirs, rtol=1e-3, atol=3e-4)


def arguments(length: int, batch: int, columns: int, device: str, dtype: torch.dtype = torch.float32) -> dict:
    return {
        "u": torch.randn(length, batch, 3, columns, device=device, dtype=dtype),
        "v": torch.randn(2, columns, device=device),
        "bias": torch.randn(2, columns, device=device),
        "x": torch.randn(length, batch, columns, device=device, dtype=dtype),
        "scale_x": 1.3,
    }


def test_input_on_another_device():
    with pytest.raises(ValueError, match="input must be on the device of the parameters, cuda:0, got cpu"):
        SRU(4, 4).cuda()(torch.randn(3, 2, 4))


def test_the_order_in_which_sequences_start_changes_no_bit(monkeypatch):
    lengths = torch.arange(1, 400) % 7
    cu_seqlens = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]).cuda()
    assert launch_order(cu_seqlens, 1024) is not None
    given = arguments(int(lengths.sum()), 1, 1024, "cuda")
    expected = sru_recurrence(**given, cu_seqlens=cu_seqlens)
    monkeypatch.setattr("sru_nn.cells.sru.pieces.launch_order", lambda *_: None)
    for got, value in zip(sru_recurrence(**given, cu_seqlens=cu_seqlens), expected, strict=True):
        assert torch.equal(got, value)


def test_a_stream_of_the_caller():
    given = arguments(2000, 8, 256, "cuda")
    expected, _ = sru_recurrence(**given)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # a kernel on any other stream would run before the inputs are there
        late = {name: value.clone() if isinstance(value, Tensor) else value for name, value in given.items()}
        actual, _ = sru_recurrence(**late)
    stream.synchronize()
    assert torch.equal(actual, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="the machine has one CUDA device")
def test_the_second_device_while_the_first_is_current():
    assert torch.cuda.current_device() == 0
    given = arguments(40, 4, 64, "cpu")
    expected, _ = sru_recurrence(**given)
    second = {
        name: value.to("cuda:1") if isinstance(value, Tensor) else value for name, value in given.items()
    }
    second["u"].requires_grad_()
    actual, _ = sru_recurrence(**second)
    actual.sum().backward()
    assert actual.device == second["u"].grad.device == torch.device("cuda:1")
    assert torch.cuda.current_device() == 0
    torch.testing.assert_close(actual.cpu(), expected)


def test_a_cuda_graph_of_a_training_step():
    rnn = SRU(64, 64, 2).cuda()
    x = torch.randn(50, 8, 64, device="cuda")

    def step() -> None:
        rnn.zero_grad(set_to_none=False)
        rnn(x)[0].square().sum().backward()

    warm_up = torch.cuda.Stream()
    warm_up.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm_up):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(warm_up)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    x.copy_(torch.randn(50, 8, 64))
    graph.replay()
    torch.cuda.synchronize()
    replayed = [parameter.grad.clone() for parameter in rnn.parameters()]
    step()
    for parameter, gradient in zip(rnn.parameters(), replayed, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.mem_get_info()[0] < 20 * 2**30,
    reason="needs 20 GiB of free GPU memory",
)
def test_more_than_two_to_the_31_elements():
    length, batch, columns = 1500, 512, 1024  # u has 2.36e9 elements
    given = arguments(length, batch, columns, "cuda", torch.bfloat16)
    given["u"].requires_grad_()
    h, _ = sru_recurrence(**given)
    h.backward(torch.ones_like(h))
    last = slice(batch - 2, batch)  # the rows that lie beyond 2^31
    part = {**given, "u": given["u"].detach()[:, last].contiguous(), "x": given["x"][:, last].contiguous()}
    part["u"].requires_grad_()
    expected, _ = sru_recurrence(**part)
    expected.backward(torch.ones_like(expected))
    assert torch.equal(h[:, last], expected)
    assert torch.equal(given["u"].grad[:, last], part["u"].grad)


def test_gradients_are_the_same_bits_every_time():
    given = arguments(300, 16, 512, "cuda")
    runs = []
    for _ in range(3):
        leaves = {name: given[name].detach().requires_grad_() for name in ("u", "v", "bias", "x")}
        h, c = sru_recurrence(**{**given, **leaves})
        runs.append(torch.autograd.grad(h.square().sum() + c.sum(), list(leaves.values())))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


def test_compiled_by_inductor():
    rnn = SRU(64, 64, 2, layer_norm=True).cuda()
    x = torch.randn(30, 4, 64, device="cuda")
    expected, _ = rnn(x)
    actual, _ = torch.compile(rnn, fullgraph=True)(x)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
