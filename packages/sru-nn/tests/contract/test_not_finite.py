"""Non-finite values affect no other sequence and no earlier step; sizes of zero are valid."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sru_nn.functional import (
    gated_linear_recurrence,
    ligru_recurrence,
    mingru_recurrence,
    sru_recurrence,
)

from .rows import Row, call, rows, tensors

pytestmark = pytest.mark.usefixtures("implementation")
LENGTH, BATCH, STEP = 5, 3, 3
OTHERS = (0, 2)
# Masked positions are multiplied by zero in attention, and later steps in chunks of a gated linear RNN.
LOOKS_AHEAD = ("SRUpp", "SRUppCell", "GatedLinearRNN")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("gradients", [False, True])
@rows()
def test_an_input(row: Row, gradients: bool, bad: float) -> None:
    module, x = row.build(), row.inputs(LENGTH, BATCH)
    changed, state = x.clone(), row.state(module, BATCH)
    changed[STEP, 1] = bad
    with torch.set_grad_enabled(gradients):
        h, last = call(module, x, state)
        actual, actual_last = call(module, changed, state)
    for b in OTHERS:
        found = actual[:, b : b + 1], row.of_one(actual_last, b)
        torch.testing.assert_close(found, (h[:, b : b + 1], row.of_one(last, b)))
    if "chunks" not in row.exceptions and not type(module).__name__.startswith(LOOKS_AHEAD):
        torch.testing.assert_close(actual[:STEP], h[:STEP])
    assert not actual[STEP, 1].isfinite().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@torch.no_grad()
@rows("step")
def test_a_state_before_a_step(row: Row, bad: float) -> None:
    module, x, state = row.build(), row.inputs(1, BATCH)[0], row.state(row.build(), BATCH)
    changed = tree_map(Tensor.clone, state)
    for part in tensors(changed):
        part.select(row.batch_axis, 1).fill_(bad)
    (h, last), (actual, actual_last) = (module.step(x, row.begin(given)) for given in (state, changed))
    for b in OTHERS:
        torch.testing.assert_close(actual[b], h[b])
        torch.testing.assert_close(row.of_one(row.end(actual_last), b), row.of_one(row.end(last), b))


FUNCTIONS = {
    "sru": lambda t, b, d: sru_recurrence(
        torch.randn(t, b, 4, 2 * d, requires_grad=True),
        torch.randn(2, 2 * d),
        torch.randn(2, 2 * d),
        torch.ones(b, 2 * d),
        bidirectional=True,
        mask_pad=torch.zeros(t, b, dtype=torch.bool),
    ),
    "ligru": lambda t, b, d: ligru_recurrence(
        torch.randn(t, b, 2, d, requires_grad=True),
        torch.randn(2 * d, d),
        torch.ones(b, 2 * d),
        bidirectional=True,
        mask_pad=torch.zeros(t, b, dtype=torch.bool),
    ),
    "mingru": lambda t, b, d: mingru_recurrence(
        torch.randn(t, b, 2, d, requires_grad=True), torch.ones(b, d)
    ),
    "gated linear": lambda t, b, d: gated_linear_recurrence(
        torch.randn(t, b, 2, d, requires_grad=True),
        torch.randn(t, b, 2, d),
        torch.randn(t, b, 2, d),
        -torch.ones(t, b, 2, d),
        torch.ones(b, 2, d, d),
    ),
}


@pytest.mark.parametrize(("length", "batch", "size"), [(0, 2, 4), (3, 0, 4), (3, 2, 0), (1, 0, 4), (0, 0, 0)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_sizes_of_zero(name: str, length: int, batch: int, size: int) -> None:
    h, last = FUNCTIONS[name](length, batch, size)
    assert h.shape[:2] == (length, batch)
    assert h.numel() == 0
    assert last.shape[0] == batch
    if length == 0:  # nothing has changed the state
        assert last.eq(1).all()
    (h.sum() + last.sum()).backward()
