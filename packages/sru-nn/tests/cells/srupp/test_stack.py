"""SRU++: its layers, masks, memory and streaming, and changes to the module."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils._python_dispatch import TorchDispatchMode

from sru_nn import SRUpp, SRUppAttention, SRUppCell, SRUppProjectedLinear
from sru_nn.cells.srupp import ragged_attention

from ...conftest import either, examples

T, B, E, D, P, L = 7, 3, 5, 4, 4, 3
pytestmark = pytest.mark.usefixtures("implementation")


def make(**options):
    """Build a module whose attention and norms have an effect."""
    rnn = SRUpp(options.pop("input_size", E), D, P, **{"num_layers": L, "num_heads": 2} | options).double()
    for name, parameter in rnn.named_parameters():
        if name.endswith(("alpha", "bias")) or "layer_norm" in name:
            nn.init.normal_(parameter)
    return rnn


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def causal_mask(length, earlier=0):
    return torch.full((length, earlier + length), -torch.inf, dtype=torch.float64).triu(earlier + 1)


def test_the_dropout_after_the_attention_changes_too():
    rnn, x = make(num_layers=1, dropout=0.5), draw(T, B, E)
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.dropout = 0.0
    assert torch.equal(rnn(x)[0], rnn(x)[0])


@pytest.mark.parametrize("first", [False, True])
def test_the_memory_is_the_input_of_each_layer(first):
    rnn = make(bidirectional=True, proj_input_to_hidden_first=first)
    x = draw(T, B, E)
    seen = []
    for cell in rnn.rnn_lst:
        cell.register_forward_pre_hook(lambda cell, args: seen.append(args[0]))
    _, _, memory = rnn(x)
    assert list(memory) == ["saved_inputs"]
    torch.testing.assert_close(memory["saved_inputs"], seen, rtol=0, atol=0)
    assert torch.equal(seen[0], rnn.input_to_hidden(x) if first else x)


@pytest.mark.parametrize(
    ("options", "attends"),
    [
        ({}, [True] * 4),
        ({"attention_every_n_layers": 2}, [False, True, False, True]),
        ({"attention_every_n_layers": 3}, [False, False, True, False]),
        ({"attention_last_n_layers": 1}, [False, False, False, True]),
        ({"attention_last_n_layers": 0}, [False] * 4),
    ],
)
def test_which_layers_attend(options, attends):
    rnn = SRUpp(E, D, P, num_layers=4, **options)
    kinds = {SRUppAttention: True, SRUppProjectedLinear: False}
    assert [kinds[type(cell.transform)] for cell in rnn.rnn_lst] == attends


def test_initialisation():
    rnn = SRUpp(E, 100, 60, num_layers=2, proj_input_to_hidden_first=True, weight_c_init=0.5, dropout=0.75)
    for cell in rnn.rnn_lst:
        assert cell.transform.alpha.item() == 0
        assert 0.45 < cell.weight_c.abs().max() <= 0.5
        assert torch.equal(cell.bias.detach(), torch.tensor([0.0, -2.0]).repeat_interleave(100))
    assert rnn.input_to_hidden.weight.abs().max() <= (6 / (E + 100)) ** 0.5
    assert [cell.dropout for cell in rnn.rnn_lst] == [0.75, 0.0]


def test_packed_sequences_with_a_memory():
    rnn = make(bidirectional=True)
    lengths, x, c0 = torch.tensor([4, 7, 2]), draw(T, B, E), draw(L, B, 2 * D)
    memory, memory_mask = [draw(2, B, E), None, None], torch.tensor([[True, False, False]] * 2)
    mask = torch.arange(T)[:, None] >= lengths
    h, c, saved = rnn(x, c0, mask, None, memory, memory_mask)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    h_packed, c_packed, saved_packed = rnn(packed, c0, None, None, memory, memory_mask)
    torch.testing.assert_close((pad_packed_sequence(h_packed)[0], c_packed, saved_packed), (h, c, saved))


def test_the_lengths_of_sequences_are_read_once_for_all_layers(monkeypatch):
    """Each call reads them again, even from the same tensor; so does a layer called alone."""
    rnn, x, cu_seqlens = make(causal=True), draw(9, E), torch.tensor([0, 4, 9])
    run, read = ragged_attention._read, []
    monkeypatch.setattr(ragged_attention, "_read", lambda *given: read.append(given) or run(*given))
    h, _, _ = rnn(x, cu_seqlens=cu_seqlens)
    assert len(read) == 1
    cu_seqlens[1] = 2
    expected = torch.cat([rnn(x[:2])[0], rnn(x[2:])[0]])
    torch.testing.assert_close(rnn(x, cu_seqlens=cu_seqlens)[0], expected)
    assert not torch.equal(h, expected)
    x, other = draw(9, 1, E), torch.tensor([0, 5, 9])
    expected = rnn[0](x, cu_seqlens=other)
    assert len(read) == 3
    with ragged_attention.reading_once(cu_seqlens):
        rnn[0](x, cu_seqlens=cu_seqlens)
        torch.testing.assert_close(rnn[0](x, cu_seqlens=other), expected)


def test_causal_is_a_causal_mask():
    rnn, plain = make(causal=True), make()
    plain.load_state_dict(rnn.state_dict())
    x, c0 = draw(T, B, E), draw(L, B, D)
    expected = plain(x, c0, None, causal_mask(T))
    torch.testing.assert_close(rnn(x, c0), expected)
    memory = [draw(4, B, E), draw(4, B, D), draw(4, B, D)]
    expected = plain(x, c0, None, causal_mask(T, 4), memory)
    torch.testing.assert_close(rnn(x, c0, None, None, memory), expected)
    assert not torch.allclose(rnn(x, c0)[0], plain(x, c0)[0])


OPTIONS = st.fixed_dictionaries(
    {
        "input_size": st.sampled_from([D, E]),
        "num_layers": st.integers(1, 3),
        "layer_norm": st.booleans(),
        "normalize_after": st.booleans(),
        "attn_layer_norm": st.booleans(),
        "attention_every_n_layers": st.sampled_from([1, 1, 2, 9]),
        "proj_input_to_hidden_first": st.booleans(),
        "batch_first": st.booleans(),
        "context": st.sampled_from([None, None, 1, 3]),
    }
)


@settings(examples, max_examples=20)
@given(
    OPTIONS,
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_segments_with_their_memory_are_the_whole(options, segments, initial, padded, seed):
    torch.manual_seed(seed)
    rnn = make(causal=True, normalize_memory=True, **options)
    time = 1 if rnn.batch_first else 0
    length = sum(segments)
    x = draw(B, length, rnn.input_size) if time else draw(length, B, rnn.input_size)
    c = c0 = draw(rnn.num_layers, B, D) if initial else None
    mask = torch.rand(x.shape[:2]) < 0.4 if padded else None
    h, last, whole = rnn(x, c0, mask)
    memory, earlier, parts = None, None, []
    masks = [None] * len(segments) if mask is None else mask.split(segments, time)
    for segment, segment_mask in zip(x.split(segments, time), masks, strict=True):
        part, c, bank = rnn(segment, c, segment_mask, None, memory, earlier)
        parts.append(part)
        new = bank["saved_inputs"]
        memory = new if memory is None else [torch.cat(p, time) for p in zip(memory, new, strict=True)]
        if padded:
            earlier = segment_mask if earlier is None else torch.cat([earlier, segment_mask], time)
    real = ... if mask is None else ~mask
    torch.testing.assert_close(torch.cat(parts, time)[real], h[real])
    torch.testing.assert_close(c, last)
    for saved, expected in zip(memory, whole["saved_inputs"], strict=True):
        torch.testing.assert_close(saved[real], expected[real])


def test_the_memory_is_normalised_only_if_asked():
    rnn = make(layer_norm=True, num_layers=1)
    x, memory = draw(T, B, E), draw(2, B, E)
    as_it_is = rnn(x, memory=[memory])[0]
    rnn[0].normalize_memory = True
    normalised = rnn(x, memory=[memory])[0]
    rnn[0].normalize_memory = False
    torch.testing.assert_close(rnn(x, memory=[rnn[0].layer_norm(memory)])[0], normalised)
    assert not torch.allclose(as_it_is, normalised)


def test_gradients_reach_earlier_segments_unless_detached():
    rnn = make(causal=True)
    x = draw(T, B, E).requires_grad_()
    _, _, bank = rnn(x[:3])
    rnn(x[3:].detach(), memory=bank["saved_inputs"])[0].sum().backward()
    assert x.grad[:3].abs().min() > 0
    x.grad = None
    _, state = rnn.stream(x[:3])
    rnn.stream(x[3:].detach(), state)[0].sum().backward()
    assert x.grad[:3].abs().min() > 0
    _, state = rnn.stream(x[:3])
    detached = state.detach()
    assert torch.equal(detached.c, state.c)
    assert not any(t.requires_grad for cache in detached.caches for t in cache)


class Work(TorchDispatchMode):
    """Counts the elements that each operator reads and writes, except those of views."""

    def __init__(self):
        super().__init__()
        self.elements = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        if not func.is_view:
            name, leaves = (
                func.overloadpacket.__name__,
                torch.utils._pytree.tree_leaves((args, kwargs, result)),
            )
            self.elements[name] += sum(leaf.numel() for leaf in leaves if isinstance(leaf, torch.Tensor))
        return result


def work_of_a_step(rnn, positions):
    with torch.no_grad():
        _, state = rnn.stream(draw(positions, 1, E))
        with Work() as work:
            rnn.step(draw(1, E), state)
    return work.elements


def test_a_step_costs_no_more_than_the_context_is_long():
    rnn = make(causal=True)
    short, middle, long = (work_of_a_step(rnn, positions) for positions in (16, 32, 48))
    assert list(short) == list(middle) == list(long)  # the same operators
    growing = {name for name in short if long[name] != short[name]}
    for name in growing:
        assert long[name] - middle[name] == middle[name] - short[name]
    # Only the operators that append the new keys and values to the old ones, and attend to them.
    assert len(growing) == 2
    assert "cat" in growing
    assert any("attention" in name for name in growing)


def test_a_step_costs_the_same_once_the_context_is_full():
    rnn = make(causal=True, context=8)
    assert work_of_a_step(rnn, 16) == work_of_a_step(rnn, 48)
    _, state = rnn.stream(draw(48, 1, E), mask_pad=torch.zeros(48, 1))
    assert {cache.keys.shape[2] for cache in state.caches} == {8} == {state.pad.shape[1]}


def test_layers_without_attention_remember_nothing():
    rnn = make(causal=True, attention_last_n_layers=1)
    _, state = rnn.stream(draw(T, B, E))
    assert [cache is None for cache in state.caches] == [True, True, False]


class Interleaved(nn.Module):
    """A custom transform, in the layout of the old package."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input, mask_pad=None, attn_mask=None, memory=None, memory_mask_pad=None):
        u = self.inner(input, mask_pad, attn_mask, memory, memory_mask_pad)
        return u.unflatten(-1, (3, D)).transpose(-1, -2).flatten(-2)


def test_a_transform_of_the_users_own_keeps_the_old_layout():
    inner = SRUppAttention(D, 3 * D, P, rezero_init_alpha=1.0).double()
    own, usual = (SRUppCell(D, D, transform_module=m).double() for m in (Interleaved(inner), inner))
    usual.load_state_dict({n.replace("custom_m.inner", "transform"): v for n, v in own.state_dict().items()})
    inputs = (draw(T, B, D), draw(B, D), torch.rand(T, B) < 0.3, None, draw(2, B, D), torch.rand(2, B) < 0.3)
    torch.testing.assert_close(own(*inputs), usual(*inputs))
    with pytest.raises(ValueError, match="SRUppCell: stream needs one direction, and SRUppAttention or"):
        own.stream(inputs[0])


@pytest.mark.compile
@either
@torch.no_grad()
def test_streaming_compiles():
    rnn = make(causal=True, num_layers=1)
    compiled = torch.compile(rnn.stream, fullgraph=True, dynamic=True, backend="aot_eager")
    x, state, parts, reset = draw(T, B, E), None, [], torch.zeros(T, B, dtype=torch.bool)
    reset[T - 3 : T - 1] = torch.tensor([[True, False, False], [False, True, False]])
    for chunk, marks in zip(x.split([T - 3, 2, 1]), reset.split([T - 3, 2, 1]), strict=True):
        part, state = compiled(chunk, state, reset=marks if marks.any() else None)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts), rnn(x, reset=reset)[0])


BAD_ARGUMENTS = [
    ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
    ({"attention_every_n_layers": 0}, "attention_every_n_layers must be at least 1"),
    (
        {"attention_last_n_layers": -2},
        "attention_last_n_layers must be at least -1, got -2",
    ),
    (
        {"attention_every_n_layers": 2, "attention_last_n_layers": 1},
        "attention_every_n_layers = 2 and attention_last_n_layers = 1 exclude each other; choose one",
    ),
    ({"causal": True, "bidirectional": True}, "causal and bidirectional exclude each other"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=re.escape(f"SRUpp: {message}")):
        SRUpp(E, D, P, **arguments)


BAD_INPUTS = [
    ((T, B), {}, "input must have shape (T, B, E) or (T, E) with E = 5, got (7, 3)"),
    ((T, B, 2), {}, "input must have shape (T, B, E) or (T, E) with E = 5, got (7, 3, 2)"),
    ((T, B, E), {"c0": (L, 2, D)}, "c0 must have shape (L, B, N·D) = (3, 3, 4), got (3, 2, 4)"),
    ((T, B, E), {"mask_pad": (B, T)}, "mask_pad must have shape (T, B) = (7, 3), got (3, 7)"),
]


@pytest.mark.parametrize(("shape", "others", "message"), BAD_INPUTS)
def test_shapes_that_do_not_fit(shape, others, message):
    with pytest.raises(ValueError, match=re.escape(f"SRUpp: {message}")):
        make()(draw(*shape), **{name: draw(*other) for name, other in others.items()})


def test_a_memory_that_does_not_fit():
    with pytest.raises(ValueError, match="SRUpp: memory must hold one tensor or None per layer, 3, got 2"):
        make()(draw(T, B, E), memory=[None, None])
    with pytest.raises(
        ValueError, match=r"SRUppAttention: memory must have shape \(M, B, E\) = \(7, 3, 4\), got \(7, 3, 5\)"
    ):
        make()(draw(T, B, E), memory=[None, draw(T, B, E), None])


def test_a_packed_sequence_that_does_not_fit():
    packed = pack_padded_sequence(draw(T, B, E), torch.tensor([7, 5, 4]))
    with pytest.raises(
        ValueError, match="SRUpp: a PackedSequence brings its own lengths; pass mask_pad=None"
    ):
        make()(packed, mask_pad=torch.zeros(T, B))
    with pytest.raises(ValueError, match=r"SRUpp: a PackedSequence's data must have shape .*E = 2, got"):
        make(input_size=2)(packed)


def test_states_that_do_not_fit():
    rnn = make(causal=True)
    _, state = rnn.stream(draw(T, B, E))
    with pytest.raises(
        ValueError, match=r"SRUpp.step: x must have shape \(B, E\) with E = 5, got \(1, 3, 5\)"
    ):
        rnn.step(draw(1, B, E), state)
    with pytest.raises(ValueError, match=r"SRUpp: c0 must have shape \(L, B, N·D\) = \(3, 2, 4\), got"):
        rnn.step(draw(2, E), state)
    with pytest.raises(ValueError, match=r"SRUpp: state\.caches must have one entry per layer, 3, got 1"):
        rnn.step(draw(B, E), state._replace(caches=state.caches[:1]))
    with pytest.raises(
        ValueError, match=r"keys in state.caches must have shape .* = \(3, 2, 7, 2\), got \(3, 4, "
    ):
        make(causal=True, num_heads=2).step(
            draw(B, E), make(causal=True, num_heads=4).stream(draw(T, B, E))[1]
        )
    with pytest.raises(
        ValueError, match=r"SRUpp: state.pad must have shape \(B, S\) = \(3, 7\), got \(3, 2\)"
    ):
        rnn.step(draw(B, E), state._replace(pad=torch.zeros(B, 2, dtype=torch.bool)))
    with pytest.raises(ValueError, match="SRUpp: step and stream need causal=True"):
        make().step(draw(B, E))


def test_a_cell_without_a_transform():
    with pytest.raises(ValueError, match="SRUppCell: transform_module must be a module like SRUppAttention"):
        SRUppCell(E, D)
    with pytest.raises(
        ValueError, match=re.escape("(in_features, out_features) = (E, K·N·D) = (5, 16), got (5, 12)")
    ):
        SRUppCell(E, D, transform_module=SRUppAttention(E, 3 * D, P))


def test_a_layer_alone_refuses_a_step():
    cell = SRUpp(E, D, P, causal=True)[0]
    with pytest.raises(TypeError, match=r"SRUppCell.step: a step needs the positions before it; use stream"):
        cell.step(draw(B, E))
