"""Concatenated sequences: results are those of the sequences one by one, in every form of input."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence
from torch.utils._pytree import tree_map

from ..conftest import examples
from .one_by_one import by_sequences
from .rows import Row, call, rows
from .test_resets import multiplies
from .test_sequences import SEEDS, check, gradients, leaves, make

pytestmark = pytest.mark.usefixtures("implementation")
LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=4)


def offsets(lengths: list[int]) -> list[int]:
    return list(accumulate(lengths, initial=0))


def laid_out(row: Row, module: nn.Module, x: Tensor, state: Any, bounds: list[int], **options: Any) -> Any:
    return call(module, x, state, cu_seqlens=torch.tensor(bounds, **options))


@rows()
@examples
@given(
    lengths=LENGTHS,
    dtype=st.sampled_from([torch.int32, torch.int64]),
    batch_first=st.booleans(),
    with_state=st.booleans(),
    seed=SEEDS,
)
def test_each_sequence_is_one_of_its_own(row: Row, lengths, dtype, batch_first, with_state, seed):
    """Empty ones too: their last state is their initial one."""
    module, state = make(row, seed, len(lengths), with_state)
    x, bounds = row.inputs(sum(lengths), 1).squeeze(1), offsets(lengths)
    of = leaves(module, x, state)
    expected = by_sequences(row, module, x, state, bounds)
    if "batch_first" not in row.exceptions:
        module.batch_first = batch_first  # ignored here
    check(lambda: laid_out(row, module, x, state, bounds, dtype=dtype), expected, of)


@pytest.mark.parametrize("lengths", [[3, 1, 4], [0, 0], []], ids=["some", "empty ones", "none"])
@rows()
def test_both_forms(row: Row, lengths: list[int]):
    """`(1, total, E)` is equivalent to `(total, E)`; a single layer takes `(total, 1, E)` instead."""
    module, x = row.build(), row.inputs(sum(lengths), 1).squeeze(1)
    h, last = laid_out(row, module, x, None, offsets(lengths))
    assert h.shape[:-1] == (len(x),)
    axis = 1 if "batch_first" in row.exceptions else 0
    results = laid_out(row, module, x.unsqueeze(axis), None, offsets(lengths))
    torch.testing.assert_close(results, (h.unsqueeze(axis), last), rtol=0, atol=0)
    if not len(x):
        torch.testing.assert_close(last, row.beginning(module, len(lengths)))
        state = row.state(module, len(lengths))
        torch.testing.assert_close(laid_out(row, module, x, state, offsets(lengths))[1], state)


@rows("padding")
@examples
@given(lengths=LENGTHS, with_state=st.booleans(), seed=SEEDS)
def test_padded_sequences_are_the_same(row: Row, lengths, with_state, seed):
    module, state = make(row, seed, len(lengths), with_state)
    x = row.inputs(max(1, *lengths, 1), len(lengths))
    mask = torch.arange(len(x))[:, None] >= torch.tensor(lengths)
    of = leaves(module, x, state)
    h, last = call(module, x, state, mask)
    results = laid_out(row, module, x.transpose(0, 1)[~mask.t()], state, offsets(lengths))
    expected = h.transpose(0, 1)[~mask.t()], last
    torch.testing.assert_close(results, expected)
    upstream = tree_map(torch.randn_like, expected)
    torch.testing.assert_close(gradients(results, upstream, of), gradients(expected, upstream, of))


@rows("packed")
@examples
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4), with_state=st.booleans(), seed=SEEDS)
def test_packed_sequences_are_the_same(row: Row, lengths, with_state, seed):
    module, state = make(row, seed, len(lengths), with_state)
    x = row.inputs(sum(lengths), 1).squeeze(1)
    h, last = laid_out(row, module, x, state, offsets(lengths))
    packed, packed_last = call(module, pack_sequence(x.split(lengths), enforce_sorted=False), state)
    padded, _ = pad_packed_sequence(packed)
    real = torch.cat([padded[:length, b] for b, length in enumerate(lengths)])
    torch.testing.assert_close((real, packed_last), (h, last))


@rows()
def test_the_order_of_sequences_does_not_matter(row: Row):
    lengths = [3, 0, 5, 1]
    module, x, state = row.build(), row.inputs(9, 1).squeeze(1), row.state(row.build(), 4)
    h, last = laid_out(row, module, x, state, offsets(lengths))
    order = torch.tensor([2, 3, 0, 1])

    def permuted(value: Any, axis: int) -> Any:
        return tree_map(lambda part: part.index_select(axis, order), value)

    def in_order(rows: Tensor) -> Tensor:
        parts = rows.split(lengths)
        return torch.cat([parts[s] for s in order])

    bounds = offsets([lengths[s] for s in order])
    results = laid_out(row, module, in_order(x), permuted(state, row.batch_axis), bounds)
    torch.testing.assert_close(results, (in_order(h), permuted(last, row.batch_axis)))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@rows()
def test_what_is_not_finite_stays_in_its_sequence(row: Row, bad: float, implementation: str):
    """In outputs, states and gradients of the inputs."""
    module, state = row.build(), row.state(row.build(), 3)
    if multiplies(module, implementation):
        pytest.skip("it multiplies what it may not see by zero")
    x = row.inputs(8, 1).squeeze(1)
    changed = x.clone()
    changed[4] = bad
    real = torch.tensor([0, 1, 2, 6, 7])
    results = []
    for inputs in (x, changed):
        inputs.requires_grad_()
        h, last = laid_out(row, module, inputs, state, [0, 3, 6, 8])
        (gradient,) = torch.autograd.grad(h[real].square().sum(), inputs)
        results.append((h[real], gradient[real], row.of_one(last, 0), row.of_one(last, 2)))
    torch.testing.assert_close(results[1], results[0])
    assert not h[4].isfinite().all()


@rows()
def test_no_gradient_crosses(row: Row):
    module, state = row.build(), tree_map(Tensor.requires_grad_, row.state(row.build(), 3))
    x = row.inputs(8, 1).squeeze(1).requires_grad_()
    h, _ = laid_out(row, module, x, state, [0, 3, 6, 8])
    of_x, *of_state = gradients((h[3:6],), (torch.ones_like(h[3:6]),), [x, *leaves(nn.Identity(), state)])
    assert (of_x[3:6] != 0).any(-1).all()
    assert (of_x[:3] == 0).all()
    assert (of_x[6:] == 0).all()
    for part in of_state:
        assert (part.select(row.batch_axis, 0) == 0).all()
        assert (part.select(row.batch_axis, 2) == 0).all()
