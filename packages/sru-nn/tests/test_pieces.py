"""Where sequences begin and end, in every form of input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sru_nn import pieces
from sru_nn.pieces import FIRST, PAD, SECOND

from .conftest import examples, looks_at_grad

LENGTHS = st.lists(st.integers(0, 5), max_size=5)


def offsets(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0)


def walk(mask_pad: list[bool], reset: list[bool]) -> list[int]:
    """Find the marks of one row by visiting its real positions."""
    found = [PAD] * len(reset)
    real = [t for t in range(len(reset)) if not mask_pad[t]]
    for i, t in enumerate(real):
        found[t] = FIRST * reset[t]
        if i + 1 < len(real) and reset[real[i + 1]]:
            found[t] += SECOND
    return found


@settings(examples, max_examples=60)
@given(
    rows=st.integers(0, 7).flatmap(
        lambda length: st.lists(
            st.lists(st.tuples(st.booleans(), st.booleans()), min_size=length, max_size=length), max_size=3
        )
    ),
    masked=st.booleans(),
    bidirectional=st.booleans(),
)
def test_marks(rows, masked, bidirectional):
    length = len(rows[0]) if rows else 3
    pad, reset = torch.tensor(rows, dtype=torch.bool).view(len(rows), length, 2).permute(2, 1, 0)
    mask_pad = pad if masked else torch.zeros_like(pad)
    expected = [walk(*row) for row in zip(mask_pad.t().tolist(), reset.t().tolist(), strict=True)]
    found = pieces.marks(mask_pad if masked else None, reset, bidirectional)
    bits = PAD | FIRST | (SECOND if bidirectional else 0)
    assert found.dtype == torch.uint8
    assert found.shape == reset.shape
    assert found.t().tolist() == [[mark & bits for mark in row] for row in expected]
    assert torch.equal(pieces.padding(found), mask_pad)
    assert torch.equal(pieces.starts(found, False), reset & ~mask_pad)
    assert pieces.starts(found, True).any() == any(mark & SECOND & bits for row in expected for mark in row)


def test_marks_of_padding_alone():
    mask_pad = torch.tensor([[True, False], [False, True]])
    assert pieces.marks(None, None, True) is None
    assert torch.equal(pieces.marks(mask_pad, None, True), mask_pad.to(torch.uint8))


@settings(examples, max_examples=20)
@given(seed=st.integers(0, 999), masked=st.booleans())
def test_piece_ids(seed, masked):
    generator = torch.Generator().manual_seed(seed)
    reset, mask_pad = torch.rand(2, 9, 3, generator=generator) < 0.4
    ids = pieces.piece_ids(reset, mask_pad if masked else None)
    counts = reset & ~mask_pad if masked else reset
    assert torch.equal(ids[0], counts[0].long())
    assert torch.equal(ids.diff(dim=0), counts[1:].long())


@settings(examples, max_examples=30)
@given(lengths=LENGTHS)
def test_sequences_that_lie_end_to_end(lengths):
    cu_seqlens, total = offsets(lengths), sum(lengths)
    numbers = [number for number, length in enumerate(lengths) for _ in range(length)]
    assert pieces.sequence_numbers(cu_seqlens, total).tolist() == numbers
    found = pieces.sequence_marks(cu_seqlens, total)
    begins, ends = cu_seqlens[:-1].tolist(), (cu_seqlens[1:] - 1).tolist()
    assert found.shape == (total, 1)
    for t in range(total):
        assert found[t, 0] == FIRST * (t in begins) + SECOND * (t in ends)

    states, initial = torch.randn(total, 1, 2), torch.randn(len(lengths), 2)
    for second, places in ((False, ends), (True, begins)):
        last = pieces.last_states(states, initial, cu_seqlens, second)
        expected = [
            states[place, 0] if length else initial[i]
            for i, (place, length) in enumerate(zip(places, lengths, strict=True))
        ]
        assert torch.equal(last, torch.stack(expected) if expected else initial)


def test_the_longest_sequence_first():
    order = pieces.longest_first(offsets([2, 0, 5, 3]))
    assert order.dtype == torch.int64
    assert order.tolist() == [2, 3, 0, 1]
    assert pieces.launch_order(offsets([2, 0, 5, 3]), 10**9) is None  # the CPU kernels order them


@settings(examples, max_examples=30)
@given(lengths=LENGTHS)
def test_padding_out_and_back(lengths):
    cu_seqlens, total = offsets(lengths), sum(lengths)
    x, y = torch.randn(total, 1, 3, requires_grad=True), torch.randn(total, 1)
    padded, mask_pad = pieces.pad_out(cu_seqlens, x, y)
    assert mask_pad.shape == (max(lengths, default=0), len(lengths))
    assert (~mask_pad).sum(0).tolist() == lengths
    assert [tuple(tensor.shape) for tensor in padded] == [(*mask_pad.shape, 3), tuple(mask_pad.shape)]
    assert not padded[0][mask_pad].any()
    for row, (start, length) in enumerate(zip(cu_seqlens.tolist(), lengths, strict=False)):
        assert torch.equal(padded[0][:length, row], x[start : start + length, 0])
    for before, after in zip((x, y), padded, strict=True):
        assert torch.equal(pieces.lay_end_to_end(after, cu_seqlens), before)
    upstream = torch.randn_like(padded[0])
    (gradient,) = torch.autograd.grad(padded[0], x, upstream)
    assert torch.equal(gradient, pieces.lay_end_to_end(upstream, cu_seqlens))


@settings(examples, max_examples=30)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5), ordered=st.booleans())
def test_the_layout_of_a_packed_sequence(lengths, ordered):
    lengths = sorted(lengths, reverse=True) if ordered else lengths
    x = torch.randn(max(lengths), len(lengths), 2)
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=ordered)
    data, batch_sizes, order, _ = packed
    cu_seqlens, to, back = pieces.packed_layout(batch_sizes, len(data), data.device, order)
    assert torch.equal(cu_seqlens, offsets(lengths))
    assert torch.equal(to[back], torch.arange(len(data)))
    flat = pieces.reorder(data, to, back)
    assert torch.equal(flat, torch.cat([x[:length, row] for row, length in enumerate(lengths)]))
    (padded,), _ = pieces.pad_out(cu_seqlens, flat.unsqueeze(1))
    assert torch.equal(padded, pad_packed_sequence(packed)[0])
    assert torch.equal(pieces.reorder(flat, back, to), data)


def test_the_gradient_of_a_permutation():
    index = torch.randperm(6)
    inverse = index.argsort()
    x = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)

    def run(x):
        return pieces.reorder(x, index, inverse) ** 3

    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)
    _, vjp = torch.func.vjp(run, x.detach())
    upstream = torch.randn(6, 2, dtype=torch.float64)
    torch.testing.assert_close(vjp(upstream)[0], torch.autograd.grad(run(x), x, upstream)[0])


@looks_at_grad
@pytest.mark.parametrize("order", [None, torch.tensor([1, 0])])
def test_opcheck(order):
    batch_sizes = torch.tensor([2, 2, 1])
    arguments = (batch_sizes, 5, torch.device("cpu"), order)
    torch.library.opcheck(torch.ops.sru_nn.packed_layout.default, arguments)
    _, to, back = torch.ops.sru_nn.packed_layout(*arguments)
    x = torch.randn(5, 2, requires_grad=True)
    torch.library.opcheck(torch.ops.sru_nn.reorder.default, (x, to, back))
