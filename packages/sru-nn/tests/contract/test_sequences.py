"""A sequence has the same results in chunks, step by step, padded, packed or alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from ..conftest import examples
from .rows import Row, call, rows, tensors

pytestmark = pytest.mark.usefixtures("implementation")
SEEDS = st.integers(0, 999)


def leaves(module: nn.Module, *inputs: Any) -> list[Tensor]:
    """Return the tensors to differentiate by: floating-point inputs and parameters."""
    given = [tensor for tensor in tensors(*inputs) if tensor.is_floating_point()]
    return [tensor.requires_grad_() for tensor in given] + [p for p in module.parameters() if p.requires_grad]


def gradients(results: Any, upstream: Any, of: list[Tensor]) -> list[Tensor]:
    pairs = zip(tensors(results), tensors(upstream), strict=True)
    total = sum((result * weight).sum() for result, weight in pairs)
    return list(torch.autograd.grad(total, of, allow_unused=True, materialize_grads=True))


def make(row: Row, seed: int, batch: int, with_state: bool) -> tuple[nn.Module, Any]:
    torch.manual_seed(seed)
    module = row.build()
    return module, row.state(module, batch) if with_state else None


def check(walk: Callable[[], Any], whole: Any, of: list[Tensor]) -> None:
    """Compare a run in pieces with the whole, also without gradients, where decoding takes short cuts."""
    results, upstream = walk(), tree_map(torch.randn_like, whole)
    torch.testing.assert_close(results, whole)
    torch.testing.assert_close(gradients(results, upstream, of), gradients(whole, upstream, of))
    with torch.no_grad():
        torch.testing.assert_close(walk(), whole)


@rows("chunks")
@examples
@given(
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    batch=st.integers(1, 3),
    masked=st.booleans(),
    with_state=st.booleans(),
    seed=SEEDS,
)
def test_chunks_are_the_whole(row: Row, sizes, batch, masked, with_state, seed):
    module, state = make(row, seed, batch, with_state)
    x = row.inputs(sum(sizes), batch)
    mask = torch.rand(x.shape[:2]) < 0.4 if masked else None
    masks = [None] * len(sizes) if mask is None else mask.split(sizes)

    def in_chunks() -> tuple[Tensor, Any]:
        carried, parts = row.begin(state), []
        for part, mask_pad in zip(x.split(sizes), masks, strict=True):
            h, carried = row.proceed(module, part, carried, mask_pad)
            parts.append(h)
        return torch.cat(parts), row.end(carried)

    of = leaves(module, x, state)
    check(in_chunks, call(module, x, state, mask), of)


@rows("step")
@examples
@given(length=st.integers(1, 5), batch=st.integers(1, 3), with_state=st.booleans(), seed=SEEDS)
def test_steps_are_the_whole(row: Row, length, batch, with_state, seed):
    module, state = make(row, seed, batch, with_state)
    x = row.inputs(length, batch)

    def step_by_step() -> tuple[Tensor, Any]:
        carried, parts = row.begin(state), []
        for x_t in x:
            h, carried = module.step(x_t, carried)
            parts.append(h)
        return torch.stack(parts), row.end(carried)

    of = leaves(module, x, state)
    check(step_by_step, call(module, x, state), of)


@st.composite
def padding(draw: st.DrawFn) -> Tensor:
    """`(T, B)`, True where a position is padding: anywhere, in some sequences everywhere."""
    length, batch = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    columns = [draw(st.lists(st.booleans(), min_size=length, max_size=length)) for _ in range(batch)]
    return torch.tensor(columns).t()


@rows("padding")
@examples
@given(
    mask=padding(),
    with_state=st.booleans(),
    garbage=st.sampled_from([torch.nan, torch.inf, -1e30]),
    kind=st.sampled_from([torch.bool, torch.uint8, torch.float32]),
    seed=SEEDS,
)
def test_padding_and_neighbours_have_no_effect(row: Row, mask, with_state, garbage, kind, seed):
    """Outputs, states and gradients are those of the sequences one by one, without their padding."""
    batch = mask.shape[1]
    module, state = make(row, seed, batch, with_state)
    x = row.inputs(*mask.shape).masked_fill(mask.unsqueeze(-1), garbage)
    of = leaves(module, x, state)
    results = h, last = call(module, x, state, mask.to(kind))
    at_padding = 0.0 if row.pads_with_zero else module.rnn_lst[-1].layer_norm.bias
    assert (h[mask] == at_padding).all()
    upstream = w_h, w_last = tree_map(torch.randn_like, results)
    actual = gradients(results, (w_h.masked_fill(mask.unsqueeze(-1), 0.0), w_last), of)
    assert (actual[0][mask] == 0).all()
    total = [torch.zeros_like(gradient) for gradient in actual]
    for b in range(batch):
        real = ~mask[:, b]
        alone = call(module, x[real, b : b + 1], None if state is None else row.of_one(state, b))
        torch.testing.assert_close((h[real, b : b + 1], row.of_one(last, b)), alone)
        upstream = (w_h[real, b : b + 1], row.of_one(w_last, b))
        for sum_, gradient in zip(total, gradients(alone, upstream, of), strict=True):
            sum_ += gradient
    torch.testing.assert_close(actual, total)


@rows("packed")
@examples
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    in_order=st.booleans(),
    with_state=st.booleans(),
    batch_first=st.booleans(),
    seed=SEEDS,
)
def test_packed_sequences_are_padded_ones(row: Row, lengths, in_order, with_state, batch_first, seed):
    lengths = torch.tensor(sorted(lengths, reverse=True) if in_order else lengths)
    module, state = make(row, seed, len(lengths), with_state)
    x = row.inputs(int(lengths.max()), len(lengths))
    mask = torch.arange(len(x))[:, None] >= lengths
    of = leaves(module, x, state)
    expected = h, _ = call(module, x, state, mask)
    module.batch_first = batch_first  # ignored for a PackedSequence
    packed = pack_padded_sequence(x, lengths, enforce_sorted=in_order)
    packed_h, last = call(module, packed, state)
    for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        assert getattr(packed_h, name) is getattr(packed, name)
    padded, _ = pad_packed_sequence(packed_h)
    h = h.masked_fill(mask.unsqueeze(-1), 0.0)
    torch.testing.assert_close((padded, last), (h, expected[1]))
    upstream = tree_map(torch.randn_like, (h, last))
    actual = gradients((padded, last), upstream, of)
    torch.testing.assert_close(actual, gradients((h, expected[1]), upstream, of))


@rows("batch_first")
@examples
@given(mask=padding(), with_state=st.booleans(), seed=SEEDS)
def test_batch_first_is_a_transposition(row: Row, mask, with_state, seed):
    module, state = make(row, seed, mask.shape[1], with_state)
    x = row.inputs(*mask.shape)
    h, last = call(module, x, state, mask)
    module.batch_first = True
    results = call(module, x.transpose(0, 1), state, mask.t())
    torch.testing.assert_close(results, (h.transpose(0, 1), last))
    if "step" not in row.exceptions:
        module.batch_first = False
        expected = tree_leaves(module.step(x[0], row.begin(state)))
        module.batch_first = True
        torch.testing.assert_close(tree_leaves(module.step(x[0], row.begin(state))), expected)


@rows("single")
@examples
@given(mask=padding(), with_state=st.booleans(), batch_first=st.booleans(), seed=SEEDS)
def test_a_single_sequence_is_a_batch_of_one(row: Row, mask, with_state, batch_first, seed):
    module, state = make(row, seed, 1, with_state)
    x, mask = row.inputs(len(mask), 1), mask[:, :1]

    def without_batch(state: Any) -> Any:
        return tree_map_only(Tensor, lambda part: part.squeeze(row.batch_axis), state)

    h, last = call(module, x, state, mask)
    module.batch_first = batch_first  # ignored without a batch axis
    results = call(module, x[:, 0], without_batch(state), mask[:, 0])
    torch.testing.assert_close(results, (h[:, 0], without_batch(last)))
    if "step" not in row.exceptions and row.stream is None:
        h, last = module.step(x[0], state)
        results = module.step(x[0, 0], without_batch(state))
        torch.testing.assert_close(results, (h[0], without_batch(last)))


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize(("length", "batch"), [(0, 2), (3, 0), (0, 0)])
@rows()
def test_nothing_to_read(row: Row, length, batch, with_state):
    module, state = make(row, 0, batch, with_state)
    h, last = call(module, row.inputs(length, batch), state)
    assert h.shape[:2] == (length, batch)
    if length == 0:
        expected = row.beginning(module, batch) if state is None else state
        torch.testing.assert_close(last, expected)
