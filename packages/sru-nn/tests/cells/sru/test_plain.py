"""The operators without kernels, against the reference and its autograd."""

from __future__ import annotations

import itertools

import pytest
import torch

from sru_nn import backend, reference
from sru_nn.cells.sru import operator as ops

from ...conftest import looks_at_grad

B, C = 3, 4
KERNELS = backend.active() == "kernels"
CHOICES = list(itertools.product((3, 4), (False, True), (False, True)))


def plain_recurrence(*given, **options):
    return ops.run("reference", ops.Inputs(*given, **options))


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.fixture(autouse=True)
def _reference():
    with backend.using("reference"):
        yield


def arguments(length, gates, bidirectional, per_position, full, activation="tanh"):
    """All that `sru_recurrence` takes; `full` for the optional ones."""
    u = random(length, B, gates, C)
    v = random(*((length, B) if per_position else ()), 2, C)
    c0 = random(B, C) if full else None
    x = random(length, B, C) if full and gates == 3 else None
    options = {
        "x": x,
        "bidirectional": bidirectional,
        "activation": activation,
        "scale_x": 1.0 if x is None else 1.3,
        "mask_c": torch.rand(B, C).round().double() * 2 if full else None,
        "mask_pad": torch.rand(length, B) < 0.4 if full else None,
    }
    return (u, v, random(2, C), c0), options


def results_and_gradients(function, given, options):
    leaves = [tensor for tensor in (*given, options["x"]) if tensor is not None]
    h, c = function(*given, **options)
    total = (h * torch.linspace(-1, 1, h.numel()).view_as(h)).sum() + (c * c).sum()
    gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [h, c, *gradients]


@pytest.mark.parametrize("length", [0, 1, 5])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("gates", "bidirectional", "per_position"), CHOICES)
def test_results_and_every_gradient(gates, bidirectional, per_position, full, length):
    for activation in ("identity", "tanh", "relu"):
        given, options = arguments(length, gates, bidirectional, per_position, full, activation)
        ours = results_and_gradients(plain_recurrence, given, options)
        expected = results_and_gradients(reference.sru_recurrence, given, options)
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_nan_in_the_padding_reaches_nothing():
    given, options = arguments(5, 3, True, True, True)
    clean = results_and_gradients(plain_recurrence, given, options)
    with torch.no_grad():
        for tensor in (given[0], given[1], options["x"]):
            tensor[options["mask_pad"]] = torch.nan
    torch.testing.assert_close(results_and_gradients(plain_recurrence, given, options), clean)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes_are_those_of_the_kernels(dtype):
    given, options = arguments(4, 3, True, False, True)
    given = [tensor.detach().to(dtype).requires_grad_() for tensor in given]
    options |= {"x": options["x"].detach().to(dtype).requires_grad_(), "mask_c": options["mask_c"].to(dtype)}
    h, c, *gradients = results_and_gradients(plain_recurrence, given, options)
    assert (h.dtype, c.dtype) == (dtype, torch.float32)
    assert [gradient.dtype for gradient in gradients] == [dtype] * 5


@looks_at_grad
@pytest.mark.parametrize(("gates", "bidirectional", "per_position"), CHOICES[::3])
def test_opcheck(gates, bidirectional, per_position):
    given, options = arguments(3, gates, bidirectional, per_position, True)
    inputs = ops.Inputs(*given, *(options[name] for name in ops.Inputs._fields[4:]))
    torch.library.opcheck(torch.ops.sru_nn.sru_forward, (*inputs, True))


@pytest.mark.skipif(not KERNELS, reason="the kernels are not installed")
def test_the_gradients_of_either_backend_may_follow_the_other():
    given, options = arguments(5, 3, True, False, True)
    expected = results_and_gradients(plain_recurrence, given, options)
    inputs = ops.Inputs(*given, *(options[name] for name in ops.Inputs._fields[4:]))
    with backend.using("kernels"), torch.no_grad():
        h, c, states = torch.ops.sru_nn.sru_forward(*inputs, True)
    upstream = torch.linspace(-1, 1, h.numel()).view_as(h).double(), 2 * c
    with torch.no_grad():
        gradients = torch.ops.sru_nn.sru_backward(*inputs, states, *upstream)
    torch.testing.assert_close([h, c, *gradients], expected)
