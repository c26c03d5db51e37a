"""SRU++ over several sequences in a row: its memory, its cache and its attention end with a sequence."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_nn import SRUppState

from ...conftest import examples
from .test_stack import B, D, E, L, T, draw, make

pytestmark = pytest.mark.usefixtures("implementation")


def draw_resets(length, batch=B, padded=True):
    """Draw marks that give sequences of a few positions, and padding, some of it marked."""
    pad = torch.rand(length, batch) < 0.25 if padded else None
    return torch.rand(length, batch) < 0.3, pad


def cut(reset, pad):
    """Return the pieces of a row as slices, and whether its first real position is marked."""
    marks = [t for t in range(len(reset)) if reset[t] and not pad[t]]
    first = next((t for t in range(len(pad)) if not pad[t]), None)
    ends = [0, *(t for t in marks if t != first), len(reset)]
    return [slice(*pair) for pair in itertools.pairwise(ends)], first in marks


def piece_by_piece(rnn, x, c0, mask, reset, memory, memory_mask):
    """Run each piece of each row as a batch of one: `h`, `c` and the gradients follow from torch alone."""
    pad = torch.zeros_like(reset) if mask is None else mask
    both, outputs, states = rnn.bidirectional, [], []
    for b in range(x.shape[1]):
        pieces, is_fresh = cut(reset[:, b], pad[:, b])
        parts, last = [], []
        for i, piece in enumerate(pieces):
            own = slice(b, b + 1)
            is_first, is_last = i == 0 and not is_fresh, i == len(pieces) - 1
            halves = [is_first] * D + [is_last] * D * both
            c = c0[:, own] * torch.tensor(halves)
            bank = ()
            if memory is not None and is_first:
                bank = ([seen[:, own] for seen in memory], memory_mask[:, own])
            h, c, _ = rnn(x[piece, own], c, pad[piece, own], None, *bank)
            parts.append(h)
            last.append(c)
        outputs.append(torch.cat(parts))
        states.append(torch.cat([last[-1][..., :D], last[0][..., D:]], -1))
    return torch.cat(outputs, 1), torch.cat(states, 1)


OPTIONS = st.fixed_dictionaries(
    {
        "num_layers": st.integers(1, 2),
        "layer_norm": st.booleans(),
        "attention_every_n_layers": st.sampled_from([1, 1, 2]),
        "direction": st.sampled_from(["causal", "context", "all", "both"]),
    }
)
DIRECTIONS = {
    "causal": {"causal": True},
    "context": {"causal": True, "context": 2},
    "all": {},
    "both": {"bidirectional": True},
}


@settings(examples, max_examples=15)
@given(OPTIONS, st.booleans(), st.booleans(), st.integers(0, 99))
def test_resets_are_sequences_one_by_one(options, padded, remembers, seed):
    torch.manual_seed(seed)
    rnn = make(**options | DIRECTIONS[options.pop("direction")])
    x, c0 = draw(T, B, E).requires_grad_(), draw(rnn.num_layers, B, rnn.output_size).requires_grad_()
    reset, mask = draw_resets(T, padded=padded)
    memory, memory_mask = None, None
    if remembers:
        sizes = [cell.input_size for cell in rnn.rnn_lst]
        memory = [draw(2, B, size).requires_grad_() for size in sizes]
        memory_mask = torch.rand(2, B) < 0.3
    h, c, _ = rnn(x, c0, mask, None, memory, memory_mask, reset=reset)
    expected = piece_by_piece(rnn, x, c0, mask, reset, memory, memory_mask)
    torch.testing.assert_close((h, c), expected)

    upstream = draw(*h.shape), draw(*c.shape)
    inputs = [x, c0, *(memory or []), *rnn.parameters()]
    actual = torch.autograd.grad((h, c), inputs, upstream, materialize_grads=True, allow_unused=True)
    gradients = torch.autograd.grad(expected, inputs, upstream, materialize_grads=True, allow_unused=True)
    torch.testing.assert_close(actual, gradients)


@pytest.mark.parametrize("options", [{"causal": True}, {"bidirectional": True}])
def test_no_gradient_crosses_a_reset(options):
    rnn = make(**options)
    x, c0 = draw(T, B, E).requires_grad_(), draw(L, B, rnn.output_size).requires_grad_()
    memory = [draw(2, B, size).requires_grad_() for size in (E, rnn.output_size, rnn.output_size)]
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[4] = True
    h, _, _ = rnn(x, c0, None, None, memory, reset=reset)
    from_before, *from_memory = torch.autograd.grad(h[4:].sum(), [x, *memory], retain_graph=True)
    assert not from_before[:4].any()
    assert not any(gradient.any() for gradient in from_memory)
    assert from_before[4:].abs().min() > 0
    assert not torch.autograd.grad(h[:4].sum(), x)[0][4:].any()


@settings(examples, max_examples=15)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
    st.sampled_from([None, 1, 3]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_chunks_with_resets_are_the_whole(chunks, context, batch_first, padded, seed):
    torch.manual_seed(seed)
    rnn = make(causal=True, context=context, batch_first=batch_first, num_layers=2)
    reset, mask = draw_resets(sum(chunks), padded=padded)
    x, c0, time = draw(sum(chunks), B, E), draw(2, B, D), int(batch_first)
    if batch_first:
        x, reset, mask = x.transpose(0, 1), reset.T, None if mask is None else mask.T
    h, c, _ = rnn(x, c0, mask, reset=reset)
    state, parts = SRUppState(c0), []
    masks = [None] * len(chunks) if mask is None else mask.split(chunks, time)
    for chunk, chunk_mask, marks in zip(x.split(chunks, time), masks, reset.split(chunks, time), strict=True):
        part, state = rnn.stream(chunk, state, mask_pad=chunk_mask, reset=marks)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, time), h)
    torch.testing.assert_close(state.c, c)


def test_a_layer_in_chunks_with_resets():
    cell = make(causal=True, num_layers=1)[0]
    x, (reset, mask) = draw(T, B, E), draw_resets(T)
    h, last = cell(x, None, mask, reset=reset)
    c, cache, hidden, parts = None, None, torch.zeros(B, 0, dtype=torch.bool), []
    for begin, end in itertools.pairwise([0, 1, 4, 5, T]):
        pads, marks = mask[begin:end], reset[begin:end]
        pad = torch.cat([hidden, pads.T], 1)
        part, c, cache = cell.stream(x[begin:end], c, cache, pads, pad, reset=marks)
        parts.append(part)
        pieces = torch.cat([torch.zeros(begin, B), (marks & ~pads).cumsum(0)])
        hidden = pad | (pieces != pieces[-1]).T
    torch.testing.assert_close((torch.cat(parts), c), (h, last))


def test_segments_hide_what_a_reset_has_ended():
    rnn = make(causal=True, layer_norm=True, normalize_memory=True)
    reset, mask = draw_resets(3 * T)
    x = draw(3 * T, B, E)
    h, last, _ = rnn(x, None, mask, reset=reset)
    memory, hidden, c, parts = None, None, None, []
    for segment, pad, marks in zip(x.split(T), mask.split(T), reset.split(T), strict=True):
        part, c, bank = rnn(segment, c, pad, None, memory, hidden, reset=marks)
        parts.append(part)
        new, new_hidden = bank["saved_inputs"], bank["memory_mask_pad"]
        if memory is None:
            memory, hidden = new, new_hidden
            continue
        memory = [torch.cat(pair) for pair in zip(memory, new, strict=True)]
        hidden = torch.cat([hidden | (marks & ~pad).any(0), new_hidden])
    torch.testing.assert_close((torch.cat(parts), c), (h, last))


def test_the_memory_without_resets_is_what_it_was():
    assert list(make()(draw(T, B, E))[2]) == ["saved_inputs"]


@pytest.mark.parametrize("batch_first", [False, True])
def test_the_mask_of_the_memory_has_the_form_of_the_argument(batch_first):
    rnn = make(batch_first=batch_first)
    x = draw(B, T, E) if batch_first else draw(T, B, E)
    reset, mask = torch.rand(x.shape[:2]) < 0.3, torch.rand(x.shape[:2]) < 0.3
    memory = rnn(x, None, mask, reset=reset)[2]
    assert memory["memory_mask_pad"].shape == x.shape[:2]
    assert torch.equal(memory["memory_mask_pad"] & mask, mask)
    one = rnn(x[0] if batch_first else x[:, 0], reset=reset[0] if batch_first else reset[:, 0])[2]
    assert one["memory_mask_pad"].shape == (T,)
    assert [saved.dim() for saved in one["saved_inputs"]] == [2] * L


@pytest.mark.parametrize("batch_first", [False, True])
@torch.no_grad()
def test_a_step_with_a_reset_restarts(batch_first):
    rnn = make(causal=True, batch_first=batch_first)
    x, new = (draw(T, B, E) for _ in range(2))
    _, state = rnn.stream(x.transpose(0, 1) if batch_first else x)
    # A finished sequence may leave anything in the cache.
    state.c[:, 0] = torch.nan
    for cache in state.caches:
        cache.keys[0] = cache.values[0] = torch.nan
    fresh = None
    for t in range(3):
        reset = torch.tensor([t == 0, False, False])
        h, state = rnn.step(new[t], state, reset=reset)
        expected, fresh = rnn.step(new[t], fresh)
        torch.testing.assert_close(h[0], expected[0])
        torch.testing.assert_close(state.c[:, 0], fresh.c[:, 0])
    assert state.pad.sum(1).tolist() == [T, 0, 0]
    assert not torch.allclose(h[1], expected[1])


def test_a_reset_before_any_step_changes_nothing():
    rnn = make(causal=True)
    x, reset = draw(B, E), torch.tensor([True, False, True])
    torch.testing.assert_close(rnn.step(x, reset=reset)[0], rnn.step(x)[0])


def test_gradients_reach_only_the_sequence_that_continues():
    rnn = make(causal=True)
    x = draw(T, B, E).requires_grad_()
    _, state = rnn.stream(x)
    h, _ = rnn.step(draw(B, E), state, reset=torch.tensor([True, False, False]))
    (gradient,) = torch.autograd.grad(h.sum(), x)
    assert not gradient[:, 0].any()
    assert gradient[:, 1:].abs().min() > 0


def test_resets_that_do_not_fit():
    rnn, x, reset = make(causal=True), draw(T, B, E), torch.zeros(T, B, dtype=torch.bool)
    message = "reset must be bool, True where a sequence begins, got torch.float32; convert it with .bool()"
    for call in (rnn, rnn.stream, rnn[0]):
        with pytest.raises(TypeError, match=re.escape(message)):
            call(x, reset=reset.float())
        with pytest.raises(ValueError, match=r"reset must have shape \(T, B\) = \(7, 3\), got \(3, 7\)"):
            call(x, reset=reset.T)
    with pytest.raises(ValueError, match=r"SRUpp: reset must have shape \(B,\) = \(3,\), got \(7, 3\)"):
        rnn.step(x[0], reset=reset)
