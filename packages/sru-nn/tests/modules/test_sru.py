"""Shapes, padding, packing, dropout and errors of the stack."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from sru_nn import SRU

T, B, E, D, L = 7, 3, 6, 5, 2


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("compatible", [False, True])
def test_shapes_and_state_order(bidirectional, compatible):
    n = 2 if bidirectional else 1
    rnn = SRU(E, D, L, bidirectional=bidirectional, nn_rnn_compatible_return=compatible)
    h, c = rnn(torch.randn(T, B, E))
    assert h.shape == (T, B, n * D)
    assert c.shape == ((L * n, B, D) if compatible else (L, B, n * D))
    lstm = torch.nn.LSTM(E, D, L, bidirectional=bidirectional)
    if compatible:
        assert c.shape == lstm(torch.randn(T, B, E))[1][1].shape


def test_compatible_state_feeds_back():
    rnn = SRU(E, D, L, bidirectional=True)
    x, c0 = torch.randn(T, B, E), torch.randn(L, B, 2 * D)
    h, c = rnn(x, c0)
    rnn.nn_rnn_compatible_return = True
    c0_compatible = c0.view(L, B, 2, D).transpose(1, 2).reshape(2 * L, B, D)
    h_compatible, c_compatible = rnn(x, c0_compatible)
    assert torch.equal(h, h_compatible)
    assert torch.equal(c_compatible.view(L, 2, B, D)[1, 1], c[1, :, D:])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_batch_first_and_unbatched_agree_with_time_major(bidirectional, assert_close):
    rnn = SRU(E, D, L, bidirectional=bidirectional)
    x, c0 = torch.randn(T, B, E), torch.randn(L, B, rnn.output_size)
    mask = torch.rand(T, B) < 0.3
    h, c = rnn(x, c0, mask)
    for b in range(B):
        h_one, c_one = rnn(x[:, b], c0[:, b], mask[:, b])
        assert h_one.shape == (T, rnn.output_size)
        assert_close(h_one, h[:, b])
        assert_close(c_one, c[:, b])
    rnn.batch_first = True
    h_first, c_first = rnn(x.transpose(0, 1), c0, mask.t())
    assert_close(h_first, h.transpose(0, 1))
    assert_close(c_first, c)
    h_one, _ = rnn(x[:, 0], c0[:, 0], mask[:, 0])  # unbatched: batch_first has no batch to move
    assert_close(h_one, h[:, 0])


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    bidirectional=st.booleans(),
    normalize_after=st.booleans(),
    seed=st.integers(0, 999),
)
def test_padding_and_packing_change_nothing(lengths, bidirectional, normalize_after, seed):
    torch.manual_seed(seed)
    rnn = SRU(E, D, L, bidirectional=bidirectional, layer_norm=True, normalize_after=normalize_after).double()
    sequences = [torch.randn(length, E, dtype=torch.float64) for length in lengths]
    x, steps = pad_sequence(sequences), torch.tensor(lengths)
    mask = torch.arange(len(x))[:, None] >= steps
    x = x.masked_fill(mask[:, :, None], 100.0)
    h, c = rnn(x, mask_pad=mask)
    h_packed, c_packed = rnn(pack_padded_sequence(x, steps, enforce_sorted=False))
    h_unpacked, _ = pad_packed_sequence(h_packed)
    for b, sequence in enumerate(sequences):
        h_alone, c_alone = rnn(sequence)
        torch.testing.assert_close(h[: lengths[b], b], h_alone)
        torch.testing.assert_close(h_unpacked[: lengths[b], b], h_alone)
        torch.testing.assert_close(c[:, b], c_alone)
        torch.testing.assert_close(c_packed[:, b], c_alone)


def test_padding_may_stand_anywhere():
    rnn = SRU(E, D, L, bidirectional=True)
    sequence = torch.randn(4, 1, E)
    h_alone, c_alone = rnn(sequence)
    places = torch.tensor([1, 2, 4, 7])
    x, mask = torch.randn(9, 1, E), torch.ones(9, 1)
    x[places], mask[places] = sequence, 0
    h, c = rnn(x, mask_pad=mask)
    torch.testing.assert_close(h[places], h_alone)
    torch.testing.assert_close(c, c_alone)


@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed_state_is_in_the_callers_order(enforce_sorted):
    rnn = SRU(E, D, L)
    lengths = torch.tensor([7, 4, 2]) if enforce_sorted else torch.tensor([2, 7, 4])
    x, c0 = torch.randn(T, B, E), torch.randn(L, B, D)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
    h, c = rnn(packed, c0)
    for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        expected = getattr(packed, name)
        assert getattr(h, name) is expected
    h, _ = pad_packed_sequence(h)
    for b in range(B):
        h_alone, c_alone = rnn(x[: lengths[b], b], c0[:, b])
        torch.testing.assert_close(h[: lengths[b], b], h_alone)
        torch.testing.assert_close(c[:, b], c_alone)


@pytest.mark.parametrize("length", [0, 1])
def test_short_sequences(length):
    rnn = SRU(E, D, L, bidirectional=True)
    c0 = torch.randn(L, B, 2 * D)
    h, c = rnn(torch.randn(length, B, E), c0)
    assert h.shape == (length, B, 2 * D)
    assert torch.equal(c, c0) == (length == 0)


def test_chunks_with_the_state_carried_over(assert_close):
    rnn = SRU(E, D, L)
    x = torch.randn(T, B, E)
    h, c = rnn(x)
    h_first, state = rnn(x[:3])
    h_rest, state = rnn(x[3:], state)
    assert_close(torch.cat([h_first, h_rest]), h)
    assert_close(state, c)


def test_dropout_is_one_mask_for_all_steps_between_layers():
    rnn = SRU(D, D, 2, dropout=0.5, highway_bias=50.0, has_skip_term=False)  # r = 1: the output is c times m
    x = torch.randn(T, B, D)
    first, second = rnn.rnn_lst
    assert (first.dropout, second.dropout) == (0.5, 0.0)
    dropped, _ = first(x)
    first.eval()
    kept, _ = first(x)
    ratio = dropped / kept
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-4, atol=1e-4)
    assert set(ratio[0].round(decimals=3).unique().tolist()) == {0.0, 2.0}
    assert torch.equal(second(x)[0], second(x)[0])


def test_rnn_dropout_is_one_mask_for_all_steps():
    rnn = SRU(50, D, 1, rnn_dropout=0.5)
    seen = []
    rnn.rnn_lst[0].transform.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    rnn(torch.ones(T, B, 50))
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(seen[0], seen[0][:1].expand_as(seen[0]))


def test_autocast_keeps_a_float32_state():
    rnn = SRU(E, E, L)
    x = torch.randn(T, B, E)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h, c = rnn(x)
    assert (h.dtype, c.dtype) == (torch.float32, torch.float32)
    exact, _ = rnn(x)
    assert not torch.equal(h, exact)  # the projections did run in bfloat16
    torch.testing.assert_close(h, exact, rtol=0.05, atol=0.05)
    low = SRU(E, E, L, amp_recurrence_fp16=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h, c = low(x)
    assert (h.dtype, c.dtype) == (torch.bfloat16, torch.float32)


def test_a_whole_model_in_bfloat16():
    rnn = SRU(E, D, L, bidirectional=True, layer_norm=True).to(torch.bfloat16)
    h, c = rnn(torch.randn(T, B, E, dtype=torch.bfloat16))
    assert (h.dtype, c.dtype) == (torch.bfloat16, torch.float32)
    rnn(torch.randn(T, B, E, dtype=torch.bfloat16), c)


def test_copies_and_round_trips():
    rnn = SRU(E, D, L, bidirectional=True, projection_size=2)
    x = torch.randn(T, B, E)
    fresh = SRU(E, D, L, bidirectional=True, projection_size=2)
    fresh.load_state_dict(rnn.state_dict())
    for twin in (fresh, copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))):
        assert torch.equal(twin(x)[0], rnn(x)[0])


def test_old_position_of_every_argument():
    """`SRU(...)` calls written for `sru` 2.6.0 with positional arguments mean the same here."""
    rnn = SRU(
        6, 4, 3, 0.1, 0.2, True, 2, True, True, -1.0, False, True, True, True, None, True, True, True, 0.5
    )
    cell = rnn.rnn_lst[1]
    seen = (
        rnn.input_size,
        rnn.hidden_size,
        rnn.num_layers,
        cell.dropout,
        cell.rnn_dropout,
        cell.bidirectional,
    )
    assert seen == (6, 4, 3, 0.1, 0.2, True)
    seen = (
        cell.projection_size,
        cell.activation,
        cell.layer_norm is None,
        cell.highway_bias,
        cell.has_skip_term,
    )
    assert seen == (2, "tanh", False, -1.0, False)
    seen = (cell.rescale, cell.v1, rnn.nn_rnn_compatible_return, rnn.input_to_hidden is None)
    assert seen == (True, True, True, False)
    assert (cell.amp_recurrence_fp16, cell.normalize_after, cell.weight_c_init) == (True, True, 0.5)


def test_custom_m_is_copied_or_taken_layer_by_layer():
    shared = torch.nn.Linear(D, 3 * D)
    rnn = SRU(D, D, 2, custom_m=shared)
    assert rnn.rnn_lst[0].custom_m is not rnn.rnn_lst[1].custom_m
    own = [torch.nn.Linear(D, 3 * D), torch.nn.Linear(D, 3 * D)]
    rnn = SRU(D, D, 2, custom_m=own)
    assert [cell.custom_m for cell in rnn.rnn_lst] == own
    assert rnn(torch.randn(T, B, D))[0].shape == (T, B, D)


def packed_of_two_features():
    return pack_padded_sequence(torch.randn(T, B, 2), torch.tensor([7, 3, 2]))


WRONG_CALLS = {
    "features": (
        lambda rnn: rnn(torch.randn(T, B, 4)),
        "input must have shape (T, B, E) or (T, E) with E = 6",
    ),
    "dimensions": (
        lambda rnn: rnn(torch.randn(6)),
        "input must have shape (T, B, E) or (T, E) with E = 6, got (6,)",
    ),
    "c0": (
        lambda rnn: rnn(torch.randn(T, B, E), torch.randn(L, B, 4)),
        "c0 must have shape (L, B, N·D) = (2, 3, 5), got (2, 3, 4)",
    ),
    "mask": (
        lambda rnn: rnn(torch.randn(T, B, E), None, torch.zeros(B, T)),
        "mask_pad must have the shape of the input without its features, (7, 3), got (3, 7)",
    ),
    "c0 of a single sequence": (
        lambda rnn: rnn(torch.randn(T, E), torch.randn(L, 1, D)),
        "c0 must have shape (L, N·D) = (2, 5), got (2, 1, 5)",
    ),
    "mask of a single sequence": (
        lambda rnn: rnn(torch.randn(T, E), None, torch.zeros(1, T)),
        "mask_pad must have the shape of the input without its features, (7,), got (1, 7)",
    ),
    "packed c0": (
        lambda rnn: rnn(
            pack_padded_sequence(torch.randn(T, B, E), torch.tensor([7, 3, 2])), torch.randn(L, 2, D)
        ),
        "c0 must have shape (L, B, N·D) = (2, 3, 5), got (2, 2, 5)",
    ),
    "packed features": (
        lambda rnn: rnn(packed_of_two_features()),
        "data must have shape (sum of lengths, E = 6)",
    ),
    "packed with a mask": (
        lambda rnn: rnn(packed_of_two_features(), None, torch.zeros(T, B)),
        "a PackedSequence brings its own lengths; pass mask_pad=None",
    ),
}


@pytest.mark.parametrize("case", WRONG_CALLS)
def test_wrong_calls(case):
    call, message = WRONG_CALLS[case]
    with pytest.raises(ValueError, match="^SRU: .*" + re.escape(message)):
        call(SRU(E, D, L))


def test_wrong_mask_with_batch_first():
    rnn = SRU(E, D, L, batch_first=True)
    with pytest.raises(ValueError, match=re.escape("without its features, (3, 7), got (7, 3)")):
        rnn(torch.randn(B, T, E), None, torch.zeros(T, B))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_wrong_dtypes_and_devices(first, packed):
    rnn = SRU(E, D, L, proj_input_to_hidden_first=first)
    who = "^SRU: " if first else "^SRUCell: "

    def call(x):
        rnn(pack_padded_sequence(x, torch.tensor([7, 3, 2])) if packed else x)

    with pytest.raises(
        TypeError, match=who + "input must have the dtype of the parameters, torch.float32, got"
    ):
        call(torch.randn(T, B, E).double())
    with pytest.raises(TypeError, match=who + "input must be a floating-point tensor, got torch.int64"):
        call(torch.ones(T, B, E, dtype=torch.int64))
    if not packed:
        with pytest.raises(
            ValueError, match=who + "input must be on the device of the parameters, cpu, got meta"
        ):
            call(torch.randn(T, B, E, device="meta"))


@pytest.mark.parametrize("first", [False, True])
def test_nan_in_padding_reaches_no_parameter(first):
    rnn = SRU(E, D, L, bidirectional=True, layer_norm=True, proj_input_to_hidden_first=first)
    x = torch.randn(T, B, E)
    mask = torch.arange(T)[:, None] >= torch.tensor([7, 3, 2])
    x[mask] = torch.nan
    h, c = rnn(x, None, mask)
    (h.sum() + c.sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in rnn.parameters())


def test_wrong_arguments():
    with pytest.raises(ValueError, match="SRU: num_layers must be at least 1, got 0"):
        SRU(E, D, 0)
    with pytest.raises(ValueError, match="custom_m must be one value or one per layer, 2, got 1"):
        SRU(D, D, 2, custom_m=[torch.nn.Linear(D, 3 * D)])
