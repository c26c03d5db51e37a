"""Inputs with zero steps, sequences or columns: every backend returns what the oracle returns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sru_nn import functional, reference

pytestmark = pytest.mark.usefixtures("implementation")


def results_and_gradients(function: Callable[..., Any], given: dict[str, Any]) -> list[Tensor]:
    given = {n: x.clone().requires_grad_() if isinstance(x, Tensor) else x for n, x in given.items()}
    results = function(**given)
    leaves = [x for x in given.values() if isinstance(x, Tensor)]
    total = sum(result.double().sum() for result in results)
    return [*results, *torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)]


def assert_like_the_oracle(name: str, given: dict[str, Any]) -> None:
    actual, expected = (
        results_and_gradients(getattr(module, name), given) for module in (functional, reference)
    )
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


SHAPES = [shape for shape in itertools.product((0, 1, 3), (0, 2), (0, 4)) if 0 in shape]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("gates", [3, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sru(shape, gates, bidirectional):
    length, batch, size = shape
    given = {"u": torch.randn(length, batch, gates, size), "bidirectional": bidirectional}
    given |= {"v": torch.randn(2, size), "bias": torch.randn(2, size), "c0": torch.randn(batch, size)}
    if gates == 3:
        given["x"] = torch.randn(length, batch, size)
    assert_like_the_oracle("sru_recurrence", given)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ligru(shape, bidirectional):
    length, batch, size = shape
    given = {"u": torch.randn(length, batch, 2, size), "weight": torch.randn(2 * size, size)}
    given |= {"h0": torch.randn(batch, size * (1 + bidirectional)), "bidirectional": bidirectional}
    assert_like_the_oracle("ligru_recurrence", given)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_mingru(shape):
    length, batch, size = shape
    given = {"u": torch.randn(length, batch, 2, size), "h0": torch.randn(batch, size)}
    assert_like_the_oracle("mingru_recurrence", given)


@pytest.mark.parametrize("length", [0, 1, 40])
@pytest.mark.parametrize("sizes", [s for s in itertools.product((0, 2), repeat=4) if 0 in s], ids=str)
def test_gated_linear(length, sizes):
    batch, heads, key_size, value_size = sizes
    keys = (length, batch, heads, key_size)
    given = {"q": torch.randn(keys), "k": torch.randn(keys), "v": torch.randn(*keys[:3], value_size)}
    given |= {"log_g": -torch.rand(keys), "s0": torch.randn(batch, heads, key_size, value_size)}
    assert_like_the_oracle("gated_linear_recurrence", given)
