"""Non-finite values stay within their sequence, with every backend, forward and backward."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sru_nn.functional import (
    gated_linear_recurrence,
    ligru_recurrence,
    mingru_recurrence,
    sru_recurrence,
)

pytestmark = pytest.mark.usefixtures("implementation")
T, B, D, H, STEP = 40, 3, 4, 2, 21


def sru_inputs() -> dict[str, Tensor]:
    shapes = {"u": (T, B, 3, D), "v": (2, D), "bias": (2, D), "c0": (B, D), "x": (T, B, D)}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def mingru_inputs() -> dict[str, Tensor]:
    return {"u": torch.randn(T, B, 2, D), "h0": torch.randn(B, D)}


def run(function, given: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the outputs, the last state and the gradient of the first argument."""
    first, *rest = given
    leaf = given[first].clone().requires_grad_()
    h, last = function(leaf, **{name: given[name] for name in rest})
    loss = (h.nan_to_num() * torch.linspace(-1, 1, h.numel()).view(h.shape)).sum()
    (gradient,) = torch.autograd.grad(loss, leaf)
    return h.detach(), last.detach(), gradient


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(
    ("function", "make", "name", "index"),
    [
        (sru_recurrence, sru_inputs, "u", (STEP, 1, 0, 2)),
        (sru_recurrence, sru_inputs, "c0", (1, 2)),
        (sru_recurrence, sru_inputs, "x", (STEP, 1, 2)),
        (mingru_recurrence, mingru_inputs, "u", (STEP, 1, 0, 2)),
        (mingru_recurrence, mingru_inputs, "h0", (1, 2)),
    ],
)
def test_a_value_that_is_not_finite_reaches_nothing_else(function, make, name, index, bad):
    given = make()
    changed = given | {name: given[name].clone()}
    changed[name][index] = bad
    actual, expected = run(function, changed), run(function, given)
    others = torch.ones(B, D, dtype=torch.bool)
    others[1, 2] = False
    for one, other in zip(actual[:2], expected[:2], strict=True):
        torch.testing.assert_close(one[..., others], other[..., others], rtol=1e-5, atol=1e-6)
    gradients = [result[2].movedim(2, 0)[:, :, others] for result in (actual, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
    since = 0 if name in ("c0", "h0") else STEP
    torch.testing.assert_close(actual[0][:since], expected[0][:since], rtol=1e-5, atol=1e-6)
    assert bool(actual[1][1, 2].isfinite()) == (name == "x")


@pytest.mark.parametrize("bad", [math.inf, -math.inf])
@pytest.mark.parametrize("gate", [1, 2])
def test_an_infinite_gate_is_open_or_closed(gate, bad):
    given = sru_inputs()
    given["u"][STEP, 1, gate, 2] = bad
    h, c, gradient = run(sru_recurrence, given)
    given["u"][STEP, 1, gate, 2] = math.copysign(1e4, bad)
    expected_h, expected_c, expected_gradient = run(sru_recurrence, given)
    torch.testing.assert_close((h, c), (expected_h, expected_c))
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", ["q", "k", "v", "s0"])
def test_gated_linear_keeps_it_in_its_head(name, bad):
    shapes = {"q": (T, B, H, D), "k": (T, B, H, D), "v": (T, B, H, D), "log_g": (T, B, H, D)}
    given = {n: torch.randn(shape) for n, shape in shapes.items()} | {"s0": torch.randn(B, H, D, D)}
    given["log_g"] = -given["log_g"].abs()
    changed = given | {name: given[name].clone()}
    changed[name][(STEP, 1, 1, 2) if name != "s0" else (1, 1, 2, 2)] = bad
    others = torch.ones(B, H, dtype=torch.bool)
    others[1, 1] = False
    (o, s, grad), (expected_o, expected_s, expected_grad) = (
        run(gated_linear_recurrence, inputs) for inputs in (changed, given)
    )
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(o[:, others], expected_o[:, others], **close)
    torch.testing.assert_close(s[others], expected_s[others], **close)
    torch.testing.assert_close(grad[:, others], expected_grad[:, others], **close)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", ["u", "h0", "mask_h"])
def test_ligru_keeps_it_in_its_sequence(name, bad):
    again = STEP + 10
    given = {"u": torch.randn(T, B, 2, D), "weight": torch.randn(2 * D, D) / 4, "h0": torch.randn(B, D)}
    given |= {"mask_h": torch.ones(B, D), "reset": torch.zeros(T, B, dtype=torch.bool)}
    given["reset"][again, 1] = True
    changed = given | {name: given[name].clone()}
    changed[name][(STEP, 1, 0, 2) if name == "u" else (1, 2)] = bad
    (h, last, gradient), (expected_h, expected_last, expected_gradient) = (
        run(ligru_recurrence, inputs) for inputs in (changed, given)
    )
    others = torch.arange(B) != 1
    torch.testing.assert_close(h[:, others], expected_h[:, others])
    torch.testing.assert_close(last[others], expected_last[others])
    torch.testing.assert_close(gradient[:, others], expected_gradient[:, others])
    if name == "u":
        torch.testing.assert_close(h[:STEP], expected_h[:STEP])
    if name != "mask_h":  # which the sequence after the reset reads too
        torch.testing.assert_close(h[again:], expected_h[again:])
        torch.testing.assert_close(last, expected_last)


def test_a_gate_that_is_nan_where_a_sequence_begins_is_not_hidden():
    q, k, v, log_g = (torch.randn(T, B, H, D) for _ in range(4))
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[STEP, 1] = True
    log_g = -log_g.abs()
    log_g[STEP, 1, 0, 2] = math.nan
    o, _ = gated_linear_recurrence(q, k, v, log_g, reset=reset)
    assert o[STEP:, 1, 0].isnan().all()
    assert o[:, 0].isfinite().all()
