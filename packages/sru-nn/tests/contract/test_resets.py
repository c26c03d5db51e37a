"""A mark begins a sequence: results are those of the pieces one by one, and nothing crosses between them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from sru_nn import GatedLinearRNN, SRUpp, SRUppCell

from ..conftest import examples
from .one_by_one import by_pieces
from .rows import Row, call, rows, tensors
from .test_sequences import SEEDS, check, leaves, make

pytestmark = pytest.mark.usefixtures("implementation")


def multiplies(module: nn.Module, implementation: str) -> bool:
    """Whether masked values are multiplied by zero, as in attention and in chunks of a gated RNN."""
    return isinstance(module, (SRUpp, SRUppCell)) or (
        isinstance(module, GatedLinearRNN) and implementation == "reference"
    )


@st.composite
def marks(draw: st.DrawFn, most: int = 6) -> tuple[Tensor, Tensor]:
    """Draw masks `(T, B)` of padding and of resets: anywhere, overlapping or not, and possibly everywhere."""
    length, batch = draw(st.integers(1, most)), draw(st.integers(1, 3))
    cells = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=length, max_size=length)
    drawn = torch.tensor([draw(cells) for _ in range(batch)])
    return drawn[..., 0].t(), drawn[..., 1].t()


def random_marks(length: int, batch: int) -> tuple[Tensor, Tensor]:
    return torch.rand(length, batch) < 0.3, torch.rand(length, batch) < 0.4


def mask_for(row: Row, mask: Tensor, masked: bool = True) -> Tensor | None:
    return mask if masked and "padding" not in row.exceptions else None


@rows()
@examples
@given(marked=marks(), masked=st.booleans(), with_state=st.booleans(), seed=SEEDS)
def test_each_piece_is_a_sequence(row: Row, marked, masked, with_state, seed):
    """In both directions, with padding before, after and at a mark; every gradient too."""
    mask, reset = marked
    module, state = make(row, seed, mask.shape[1], with_state)
    x, mask = row.inputs(*mask.shape), mask_for(row, mask, masked)
    of = leaves(module, x, state)
    check(
        lambda: call(module, x, state, mask, reset=reset), by_pieces(row, module, x, state, mask, reset), of
    )


@rows("chunks")
@examples
@given(
    sizes=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    masked=st.booleans(),
    with_state=st.booleans(),
    seed=SEEDS,
)
def test_chunks_are_the_whole(row: Row, sizes, masked, with_state, seed):
    """The state carried into a chunk is ignored where its first position is marked."""
    module, state = make(row, seed, 2, with_state)
    x, (mask, reset) = row.inputs(sum(sizes), 2), random_marks(sum(sizes), 2)
    mask = mask_for(row, mask, masked)
    masks = [None] * len(sizes) if mask is None else mask.split(sizes)

    def in_chunks() -> tuple[Tensor, Any]:
        carried, parts = row.begin(state), []
        for part, mask_pad, begins in zip(x.split(sizes), masks, reset.split(sizes), strict=True):
            h, carried = row.proceed(module, part, carried, mask_pad, begins)
            parts.append(h)
        return torch.cat(parts), row.end(carried)

    of = leaves(module, x, state)
    check(in_chunks, call(module, x, state, mask, reset=reset), of)


@rows("step")
@examples
@given(length=st.integers(1, 5), batch=st.integers(1, 3), with_state=st.booleans(), seed=SEEDS)
def test_steps_are_the_whole(row: Row, length, batch, with_state, seed):
    module, state = make(row, seed, batch, with_state)
    x, (_, reset) = row.inputs(length, batch), random_marks(length, batch)

    def step_by_step() -> tuple[Tensor, Any]:
        carried, parts = row.begin(state), []
        for x_t, begins in zip(x, reset, strict=True):
            h, carried = module.step(x_t, carried, reset=begins)
            parts.append(h)
        return torch.stack(parts), row.end(carried)

    of = leaves(module, x, state)
    check(step_by_step, call(module, x, state, reset=reset), of)


@rows()
def test_a_mark_everywhere_makes_sequences_of_one(row: Row):
    module, x, state = row.build(), row.inputs(4, 3), row.state(row.build(), 3)
    everywhere = torch.ones(4, 3, dtype=torch.bool)
    h, _ = call(module, x, None, reset=everywhere)
    torch.testing.assert_close(h, torch.cat([call(module, x_t[None])[0] for x_t in x]))
    if "step" not in row.exceptions:
        torch.testing.assert_close(h, torch.stack([module.step(x_t)[0] for x_t in x]))
        kept, _ = module.step(x[0], row.begin(state), reset=everywhere[0])
        torch.testing.assert_close(kept, h[0])


def padding_between(row: Row, x: Tensor) -> tuple[Tensor | None, Tensor]:
    """Return a padding mask, if the row takes one, and marks at its positions, all around the real ones."""
    mask = torch.zeros(x.shape[:2], dtype=torch.bool)
    mask[0, 0] = mask[2, 1] = mask[-1, 2] = mask[:, 3] = True
    return mask_for(row, mask), mask


@pytest.mark.parametrize("with_others", [False, True])
@rows("padding")
def test_a_mark_at_padding_is_ignored(row: Row, with_others: bool):
    module, x, state = row.build(), row.inputs(5, 4), row.state(row.build(), 4)
    mask, marked = padding_between(row, x)
    others = torch.zeros_like(marked)
    others[3, :2] = with_others
    results = call(module, x, state, mask, reset=marked | others)
    torch.testing.assert_close(results, call(module, x, state, mask, reset=others), rtol=0, atol=0)
    if not with_others:
        torch.testing.assert_close(results, call(module, x, state, mask))


@pytest.mark.parametrize("masked", [False, True])
@rows()
def test_no_mark_changes_nothing(row: Row, masked: bool, implementation: str):
    module, x, state = row.build(), row.inputs(5, 4), row.state(row.build(), 4)
    mask = padding_between(row, x)[0] if masked else None
    none = torch.zeros(5, 4, dtype=torch.bool)
    exact = {"rtol": 0, "atol": 0} if implementation == "kernels" else {}
    torch.testing.assert_close(
        call(module, x, state, mask, reset=none), call(module, x, state, mask), **exact
    )


BEGIN, LENGTH, BATCH = 3, 6, 3
ROW = 1


def one_mark() -> Tensor:
    reset = torch.zeros(LENGTH, BATCH, dtype=torch.bool)
    reset[BEGIN, ROW] = True
    return reset


@rows()
def test_no_gradient_crosses(row: Row):
    """It is exactly zero, in both directions and for the state."""
    module, state = row.build(), tree_map(Tensor.requires_grad_, row.state(row.build(), BATCH))
    x = row.inputs(LENGTH, BATCH).requires_grad_()
    h, last = call(module, x, state, reset=one_mark())
    after, before = (
        torch.autograd.grad(
            part.square().sum(),
            [x, *tensors(state)],
            retain_graph=True,
            allow_unused=True,  # h of an LSTM
            materialize_grads=True,
        )
        for part in (h[BEGIN:, ROW], h[:BEGIN, ROW])
    )
    assert (after[0][:BEGIN, ROW] == 0).all()
    assert (after[0][BEGIN:, ROW] != 0).any(-1).all()
    assert (before[0][BEGIN:, ROW] == 0).all()
    assert (before[0][:BEGIN, ROW] != 0).any(-1).all()
    if not module.bidirectional:
        assert all((part == 0).all() for part in after[1:])
        ends = sum(row.of_one(part, ROW).square().sum() for part in tensors(last))
        (of_end,) = torch.autograd.grad(ends, [x], retain_graph=True)
        assert (of_end[:BEGIN, ROW] == 0).all()
    reset = one_mark()
    reset[0] = True
    h, _ = call(module, x, state, reset=reset)
    given = torch.autograd.grad(h.square().sum(), tensors(state), allow_unused=True, materialize_grads=True)
    zero = row.joined(module, tree_map(torch.zeros_like, state), state)
    for part, gradient in zip(tensors(zero), given, strict=True):
        assert (gradient[part == 0] == 0).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("begin", [0, BEGIN], ids=["before", "after"])
@rows()
def test_what_is_not_finite_does_not_cross(row: Row, begin: int, bad: float, implementation: str):
    """From the first piece to the second, or back; in outputs, the state, and gradients of the inputs."""
    module, state = row.build(), row.state(row.build(), BATCH)
    if multiplies(module, implementation):
        pytest.skip("it multiplies what it may not see by zero")
    x = row.inputs(LENGTH, BATCH)
    changed = x.clone()
    changed[begin : begin + 2, ROW] = bad
    other = slice(BEGIN, None) if begin == 0 else slice(0, BEGIN)
    results = []
    for inputs in (x, changed):
        inputs.requires_grad_()
        h, last = call(module, inputs, state, reset=one_mark())
        (gradient,) = torch.autograd.grad(h[other].square().sum(), inputs)
        ends = row.of_one(last, ROW)
        seen = row.joined(module, ends, tree_map(torch.zeros_like, ends))
        if begin == 0 and not hasattr(module, "mode"):
            results.append((h[other], gradient[other], seen))
        else:
            results.append((h[other], gradient[other]))
    torch.testing.assert_close(results[1], results[0])


@rows("batch_first")
@examples
@given(marked=marks(), with_state=st.booleans(), seed=SEEDS)
def test_batch_first_is_a_transposition(row: Row, marked, with_state, seed):
    mask, reset = marked
    module, state = make(row, seed, mask.shape[1], with_state)
    x, mask = row.inputs(*mask.shape), mask_for(row, mask)
    h, last = call(module, x, state, mask, reset=reset)
    module.batch_first = True
    turned = None if mask is None else mask.t()
    results = call(module, x.transpose(0, 1), state, turned, reset=reset.t())
    torch.testing.assert_close(results, (h.transpose(0, 1), last))


@rows("single")
@examples
@given(marked=marks(), with_state=st.booleans(), batch_first=st.booleans(), seed=SEEDS)
def test_a_single_sequence_is_a_batch_of_one(row: Row, marked, with_state, batch_first, seed):
    mask, reset = (part[:, :1] for part in marked)
    module, state = make(row, seed, 1, with_state)
    x, mask = row.inputs(len(mask), 1), mask_for(row, mask)

    def without_batch(state: Any) -> Any:
        return tree_map_only(Tensor, lambda part: part.squeeze(row.batch_axis), state)

    h, last = call(module, x, state, mask, reset=reset)
    module.batch_first = batch_first
    alone = None if mask is None else mask[:, 0]
    results = call(module, x[:, 0], without_batch(state), alone, reset=reset[:, 0])
    torch.testing.assert_close(results, (h[:, 0], without_batch(last)))
    if "step" not in row.exceptions and row.stream is None:
        h, last = module.step(x[0], state, reset=reset[0])
        results = module.step(x[0, 0], without_batch(state), reset=reset[0, 0])
        torch.testing.assert_close(results, (h[0], without_batch(last)))


@rows("step")
def test_a_step_does_not_multiply_the_state_away(row: Row):
    """The content of the state does not matter where it is replaced, as in `forward` with one step."""
    module, x, state = row.build(), row.inputs(1, 2), row.state(row.build(), 2)
    bad = tree_map(lambda part: torch.full_like(part, math.nan), state)
    reset = torch.tensor([True, False])
    found, last = module.step(x[0], row.begin(bad), reset=reset)
    expected, expected_last = module.step(x[0], row.begin(state), reset=reset)
    torch.testing.assert_close(found[0], expected[0])
    assert found[1].isnan().all()
    for actual, usual in zip(tree_leaves(row.end(last)), tree_leaves(row.end(expected_last)), strict=True):
        torch.testing.assert_close(actual.select(row.batch_axis, 0), usual.select(row.batch_axis, 0))
