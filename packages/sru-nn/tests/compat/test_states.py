"""What the states of the drop-in modules are, how they carry on, and that padding never matters."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sru_nn.compat import GRU, LSTM

from ..conftest import either

T, B, E, D, L = 7, 3, 6, 5, 2
pytestmark = pytest.mark.usefixtures("implementation")


def as_list(states) -> list[Tensor]:
    return [states] if isinstance(states, Tensor) else list(states)


def random_states(rnn, batch: int) -> tuple[Tensor, Tensor] | Tensor:
    rows = rnn.num_layers * (2 if rnn.bidirectional else 1)
    c0 = torch.randn(rows, batch, rnn.hidden_size, dtype=torch.float64)
    h0 = torch.randn(rows, batch, rnn.proj_size or rnn.hidden_size, dtype=torch.float64)
    return (h0, c0) if isinstance(rnn, LSTM) else c0


def of_one(hx, b: int):
    """The states of one sequence of the batch, without the batch."""
    return tuple(state[:, b] for state in hx) if isinstance(hx, tuple) else hx[:, b]


def make(kind: str, bidirectional: bool):
    """`LSTM`, `GRU`, or `LSTM+` with projections, in float64."""
    options = {"proj_size": 3} if kind == "LSTM+" else {}
    cls = GRU if kind == "GRU" else LSTM
    return cls(E, D, L, bidirectional=bidirectional, dtype=torch.float64, **options)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_h_n_is_the_last_output_of_each_layer_and_direction(bidirectional):
    rnn = LSTM(E, D, L, bidirectional=bidirectional)
    x = torch.randn(T, B, E)
    output, (h_n, c_n) = rnn(x)
    expected = []
    for cell in rnn.rnn_lst:
        x, _ = cell(x)
        expected += [x[-1, :, :D], x[0, :, D:]] if bidirectional else [x[-1]]
    torch.testing.assert_close(h_n, torch.stack(expected))
    torch.testing.assert_close(output, x)
    assert not torch.equal(h_n, c_n)


def test_gradients_reach_every_layer_through_h_n():
    rnn = LSTM(E, D, L, bidirectional=True)
    x = torch.randn(T, B, E)
    _, (h_n, _) = rnn(x)
    weights = [cell.transform.weight for cell in rnn.rnn_lst]
    upstream = torch.randn_like(h_n)
    actual = torch.autograd.grad((h_n * upstream).sum(), weights)
    first, _ = rnn.rnn_lst[0](x)
    second, _ = rnn.rnn_lst[1](first)
    ends = torch.stack([first[-1, :, :D], first[0, :, D:], second[-1, :, :D], second[0, :, D:]])
    expected = torch.autograd.grad((ends * upstream).sum(), weights)
    torch.testing.assert_close(actual, expected)


@settings(deadline=None, max_examples=30)
@given(
    kind=st.sampled_from(["LSTM", "LSTM+", "GRU"]),
    cuts=st.lists(st.integers(0, 9), max_size=4),
    seed=st.integers(0, 999),
)
def test_segments_with_carried_states_are_the_whole(kind, cuts, seed):
    torch.manual_seed(seed)
    rnn = make(kind, bidirectional=False)
    x = torch.randn(9, B, E, dtype=torch.float64)
    hx = random_states(rnn, B)
    whole, last = rnn(x, hx)
    outputs = []
    with torch.set_grad_enabled(seed % 2 == 0):
        for segment in torch.tensor_split(x, sorted(cuts)):  # some hold nothing
            output, hx = rnn(segment, hx)
            outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs), whole)
    torch.testing.assert_close(as_list(hx), as_list(last))


@st.composite
def padded_batches(draw) -> list[list[bool]]:
    """For each sequence whether each of its positions is padding; some have no real one."""
    length = draw(st.integers(1, 7))
    row = st.lists(st.booleans(), min_size=length, max_size=length)
    return draw(st.lists(row, min_size=1, max_size=3))


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(["LSTM", "LSTM+", "GRU"]),
    pad=padded_batches(),
    bidirectional=st.booleans(),
    garbage=st.sampled_from([0.0, 100.0, float("nan")]),
    seed=st.integers(0, 999),
)
def test_padding_may_stand_anywhere(kind, pad, bidirectional, garbage, seed):
    torch.manual_seed(seed)
    rnn = make(kind, bidirectional)
    mask = torch.tensor(pad).t()
    length, batch = mask.shape
    x = torch.randn(length, batch, E, dtype=torch.float64).masked_fill(mask[:, :, None], garbage)
    hx = random_states(rnn, batch)
    output, states = rnn(x, hx, mask_pad=mask)
    assert output[mask].eq(0).all()
    for b in range(batch):
        real = ~mask[:, b]
        alone, states_alone = rnn(x[real, b], of_one(hx, b))
        torch.testing.assert_close(output[real, b], alone)
        torch.testing.assert_close([s[:, b] for s in as_list(states)], as_list(states_alone))


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(["LSTM", "LSTM+", "GRU"]),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    with_states=st.booleans(),
    seed=st.integers(0, 999),
)
def test_packed_sequences_and_masks_agree(kind, lengths, bidirectional, batch_first, with_states, seed):
    torch.manual_seed(seed)
    rnn = make(kind, bidirectional)
    rnn.batch_first = batch_first
    x = torch.randn(len(lengths), max(lengths), E, dtype=torch.float64)
    mask = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
    hx = random_states(rnn, len(lengths)) if with_states else None
    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    packed_output, packed_states = rnn(packed, hx)
    if not batch_first:
        x, mask = x.transpose(0, 1), mask.t()
    output, states = rnn(x, hx, mask_pad=mask)
    unpacked, _ = pad_packed_sequence(packed_output, batch_first=batch_first)
    torch.testing.assert_close(unpacked, output)
    torch.testing.assert_close(as_list(packed_states), as_list(states))


@pytest.mark.parametrize("kind", ["LSTM", "LSTM+", "GRU"])
def test_nan_in_padding_reaches_no_gradient(kind):
    rnn = make(kind, bidirectional=True)
    x = torch.randn(T, B, E, dtype=torch.float64)
    mask = torch.arange(T)[:, None] >= torch.tensor([7, 3, 0])
    x[mask] = torch.nan
    output, states = rnn(x.requires_grad_(), mask_pad=mask)
    sum(tensor.square().sum() for tensor in [output, *as_list(states)]).backward()
    assert all(parameter.grad.isfinite().all() for parameter in rnn.parameters())
    assert x.grad[mask].eq(0).all()


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_mask_of_a_single_sequence(kind):
    rnn = make(kind, bidirectional=True)
    x, mask = torch.randn(T, E, dtype=torch.float64), torch.tensor([1, 0, 0, 1, 0, 1, 1])
    output, states = rnn(x, mask_pad=mask)
    alone, states_alone = rnn(x[mask == 0])
    torch.testing.assert_close(output[mask == 0], alone)
    torch.testing.assert_close(as_list(states), as_list(states_alone))


@pytest.mark.parametrize("kind", ["LSTM", "LSTM+", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_no_steps_and_no_sequences(kind, bidirectional):
    rnn = make(kind, bidirectional)
    hx = random_states(rnn, B)
    output, states = rnn(torch.randn(0, B, E, dtype=torch.float64), hx)
    width = rnn.proj_size or D
    assert output.shape == (0, B, width * (2 if bidirectional else 1))
    torch.testing.assert_close(as_list(states), as_list(hx))
    _, states = rnn(torch.randn(0, B, E, dtype=torch.float64))
    assert all(state.eq(0).all() for state in as_list(states))
    output, states = rnn(torch.randn(T, 0, E, dtype=torch.float64), random_states(rnn, 0))
    assert output.shape[:2] == (T, 0)
    assert all(state.shape[1] == 0 for state in as_list(states))


@pytest.mark.parametrize("kind", ["LSTM", "LSTM+", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_decoding_step_is_a_sequence_of_one(kind, bidirectional):
    rnn = make(kind, bidirectional)
    x, hx = torch.randn(1, B, E, dtype=torch.float64), random_states(rnn, B)
    expected = rnn(x, hx)  # with gradients, which the short way has not
    with torch.no_grad():
        output, states = rnn(x, hx)
    torch.testing.assert_close([output, *as_list(states)], [expected[0], *as_list(expected[1])])


def test_h0_changes_nothing_beside_a_c0_and_raises_where_it_would_be_lost():
    rnn = LSTM(E, D, L)
    x, c0, zeros = torch.randn(T, B, E), torch.randn(L, B, D), torch.zeros(L, B, D)
    rnn(x, (zeros, zeros))
    with pytest.raises(ValueError, match=r"h0 is not zero but c0 is, .* pass the initial state as c0"):
        rnn(x, (torch.randn(L, B, D), zeros))
    expected, _ = rnn(x, (zeros, c0))
    assert torch.equal(rnn(x, (torch.randn(L, B, D), c0))[0], expected)


def test_h0_is_looked_at_until_a_state_was_carried(monkeypatch):
    rnn = LSTM(E, D, L)
    x, zeros = torch.randn(T, B, E), torch.zeros(L, B, D)
    looks = []
    looked = Tensor.any
    monkeypatch.setattr(Tensor, "any", lambda tensor: looks.append(1) or looked(tensor))
    hx, counts = (zeros, zeros), []
    for _ in range(4):
        _, hx = rnn(x, hx)
        counts.append(len(looks))
    assert counts == [1, 3, 3, 3]  # h0 alone; h0 and c0; nothing more


def test_a_computed_h0_of_a_gru_counts():
    rnn = GRU(E, D)
    h0 = torch.randn(1, B, D, requires_grad=True)
    output, _ = rnn(torch.randn(T, B, E), h0)
    output.sum().backward()
    assert h0.grad.ne(0).any()
    assert not torch.equal(output, rnn(torch.randn(T, B, E))[0])


@either
@pytest.mark.parametrize(("kind", "bidirectional"), [("LSTM+", True), ("GRU", False)])
def test_compiled_and_exported_equal_eager(kind, bidirectional):
    torch._dynamo.reset()
    rnn = make(kind, bidirectional)
    compiled = torch.compile(rnn, fullgraph=True, backend="aot_eager")
    x, hx = torch.randn(3, B, E, dtype=torch.float64), random_states(rnn, B)
    mask = torch.rand(3, B) < 0.3
    outcomes = []
    for model in (rnn, compiled):
        rnn.zero_grad()
        # Without this the compiler leaves every subclass of PyTorch's modules out of its graphs.
        with torch._dynamo.config.patch(allow_rnn=True):
            output, states = model(x, hx, mask_pad=mask)
        (output.square().sum() + sum(s.sum() for s in as_list(states))).backward()
        gradients = [p.grad for p in rnn.parameters()]
        outcomes.append([output, *as_list(states), *gradients])
    torch.testing.assert_close(outcomes[1], outcomes[0])
    exported = torch.export.export(rnn.eval(), (x, hx), {"mask_pad": mask}).module()
    output, states = exported(x, hx, mask_pad=mask)
    torch.testing.assert_close([output, *as_list(states)], outcomes[0][: 1 + len(as_list(states))])
