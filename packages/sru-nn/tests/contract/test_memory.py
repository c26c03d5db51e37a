"""Tensors whose memory does not hold their values: PyTorch negates and zeroes lazily."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._pytree import tree_map

from sru_nn.functional import (
    gated_linear_recurrence,
    ligru_recurrence,
    mingru_recurrence,
    sru_recurrence,
)

from .rows import Row, call, rows, tensors

pytestmark = pytest.mark.usefixtures("implementation")


def imaginary(tensor: Tensor) -> Tensor:
    """Return equal values with the negative bit: the imaginary part of a conjugate."""
    return torch.complex(torch.zeros_like(tensor), -tensor).conj().imag


def negated(tensor: Tensor) -> Tensor:
    return torch._neg_view(-tensor)


def zero(tensor: Tensor) -> Tensor:
    """Return zeros without memory, as the backward pass of `torch.func` creates them."""
    return torch._efficientzerotensor(tensor.shape, dtype=tensor.dtype)


KINDS = {"imaginary": imaginary, "zero": zero}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
# A kernel accepts a dense tensor whose only stride does not matter.
lengths = pytest.mark.parametrize(("length", "batch"), [(1, 1), (4, 2)])


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[[int, int], dict[str, Tensor]]]] = {
    "sru": (
        sru_recurrence,
        lambda t, b: {
            "u": draw(t, b, 3, 4),
            "v": draw(2, 4),
            "bias": draw(2, 4),
            "c0": draw(b, 4),
            "x": draw(t, b, 4),
            "mask_c": draw(b, 4),
        },
    ),
    "gated linear": (
        gated_linear_recurrence,
        lambda t, b: {
            "q": draw(t, b, 2, 3),
            "k": draw(t, b, 2, 3),
            "v": draw(t, b, 2, 3),
            "log_g": -draw(t, b, 2, 3).abs(),
            "s0": draw(b, 2, 3, 3),
        },
    ),
    "ligru": (
        ligru_recurrence,
        lambda t, b: {"u": draw(t, b, 2, 4), "weight": draw(8, 4), "h0": draw(b, 4), "mask_h": draw(b, 4)},
    ),
    "mingru": (mingru_recurrence, lambda t, b: {"u": draw(t, b, 2, 4), "h0": draw(b, 4)}),
}


@kinds
@lengths
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_of_functions(name, gradients, length, batch, kind):
    function, arguments = FUNCTIONS[name]
    given = arguments(length, batch)
    for argument in given:
        lazy = given | {argument: kind(given[argument])}
        usual = given | {argument: lazy[argument].clone().resolve_neg() + 0.0}
        with torch.set_grad_enabled(gradients):
            results = [run(function, values, gradients) for values in (lazy, usual)]
        torch.testing.assert_close(*results, msg=lambda text, a=argument: f"{a}: {text}")


def run(function: Callable[..., Any], given: dict[str, Tensor], gradients: bool) -> list[Tensor]:
    if not gradients:
        return tensors(function(**given))
    leaves = {name: value.requires_grad_(not name.startswith("mask_")) for name, value in given.items()}
    results = tensors(function(**leaves))
    of = [value for value in leaves.values() if value.requires_grad]
    upstream = [kind(torch.ones_like(result)) for kind, result in zip((negated, zero), results, strict=True)]
    return results + list(torch.autograd.grad(results, of, upstream))


@kinds
@lengths
@rows(main=True)
def test_inputs_and_states_of_modules(row: Row, length, batch, kind):
    module = row.build()
    x, state = row.inputs(length, batch), row.state(module, batch)
    lazy = kind(x), tree_map(kind, state)
    usual = tree_map(lambda part: part.clone().resolve_neg() + 0.0, lazy)
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(call(module, *lazy), call(module, *usual))
            if "step" not in row.exceptions:
                found = module.step(lazy[0][0], row.begin(lazy[1]))
                torch.testing.assert_close(
                    tensors(found), tensors(module.step(usual[0][0], row.begin(usual[1])))
                )


@kinds
@rows(main=True)
@torch.no_grad()
def test_parameters_of_modules(row: Row, kind):
    module, x = row.build(), row.inputs(1, 1)
    for name, parameter in module.named_parameters():
        lazy = kind(parameter.detach())
        results = [
            functional_call(module, {name: value}, (x,))[:2]
            for value in (lazy, lazy.clone().resolve_neg() + 0.0)
        ]
        torch.testing.assert_close(*results, msg=lambda text, n=name: f"{n}: {text}")
