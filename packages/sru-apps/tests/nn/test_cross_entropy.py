"""The sliced loss and its gradients equal those of the whole product."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sru_apps.nn import cross_entropy
from sru_apps.nn.cross_entropy import linear_cross_entropy, smoothed_cross_entropy
from sru_data.loaders import IGNORE


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch):
    monkeypatch.setattr(cross_entropy, "_LOGITS_CPU", 40)
    monkeypatch.setattr(cross_entropy, "_LEAST_ROWS", 3)


def tensors(bias=True, dtype=torch.float64):
    torch.manual_seed(0)
    x = torch.randn(10, 4, dtype=dtype, requires_grad=True)
    weight = torch.randn(7, 4, dtype=dtype, requires_grad=True)
    targets = torch.randint(7, (10,))
    targets[[2, 9]] = IGNORE
    return x, weight, torch.randn(7, dtype=dtype, requires_grad=True) if bias else None, targets


def plain(x, weight, bias, targets):
    return F.cross_entropy(F.linear(x, weight, bias), targets, reduction="none")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_values_and_gradients(bias, weighted):
    *parameters, targets = tensors(bias)
    parameters = [p for p in parameters if p is not None]
    full = (*parameters, None)[:3]
    upstream = torch.randn(10, dtype=torch.float64) if weighted else torch.full((10,), 0.3).double()
    actual, wanted = linear_cross_entropy(*full, targets), plain(*full, targets)
    torch.testing.assert_close(actual, wanted)
    assert (actual[targets == IGNORE] == 0).all()
    torch.testing.assert_close(
        torch.autograd.grad(actual @ upstream, parameters), torch.autograd.grad(wanted @ upstream, parameters)
    )


def test_nothing_is_scored():
    x, weight, bias, targets = tensors()
    nll = linear_cross_entropy(x, weight, bias, torch.full_like(targets, IGNORE))
    assert (nll == 0).all()
    nll.sum().backward()
    assert (weight.grad == 0).all()
    nll = linear_cross_entropy(x[:0], weight, bias, targets[:0])
    nll.sum().backward()
    assert nll.shape == (0,)


def test_autocast_keeps_the_softmax_in_float32():
    x, weight, bias, targets = tensors(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        nll = linear_cross_entropy(x, weight, bias, targets)
    assert nll.dtype == torch.float32
    wanted = plain(x, weight, bias, targets)
    torch.testing.assert_close(nll, wanted, atol=5e-2, rtol=5e-2)
    gradients = torch.autograd.grad(nll.mean(), (x, weight, bias))
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    torch.testing.assert_close(
        gradients, torch.autograd.grad(wanted.mean(), (x, weight, bias)), atol=2e-2, rtol=5e-2
    )


@pytest.mark.parametrize("bias", [True, False])
def test_label_smoothing_is_that_of_torch(bias):
    x, weight, bias, targets = tensors(bias)
    scored = targets != IGNORE
    nll, actual = smoothed_cross_entropy(x[scored], weight, bias, targets[scored], smoothing=0.3)
    logits = F.linear(x, weight, bias)[scored]
    wanted = F.cross_entropy(logits, targets[scored], reduction="none", label_smoothing=0.3)
    torch.testing.assert_close(actual, wanted)
    torch.testing.assert_close(nll, plain(x, weight, bias, targets)[scored])
    parameters = [p for p in (x, weight, bias) if p is not None]
    torch.testing.assert_close(
        torch.autograd.grad(actual.mean(), parameters), torch.autograd.grad(wanted.mean(), parameters)
    )


def test_without_gradients_none_are_computed(monkeypatch):
    monkeypatch.setattr(cross_entropy, "add_product_", None)
    x, weight, bias, targets = tensors()
    with torch.no_grad():
        torch.testing.assert_close(
            linear_cross_entropy(x, weight, bias, targets), plain(x, weight, bias, targets)
        )
