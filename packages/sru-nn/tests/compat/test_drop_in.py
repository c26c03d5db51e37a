"""`compat.LSTM` and `compat.GRU` compared with PyTorch's: signatures, shapes, attributes, copies, errors."""

from __future__ import annotations

import inspect
import itertools
import re

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils._pytree import tree_leaves

from sru_nn import SRU
from sru_nn.compat import GRU, LSTM

T, B, E, D, L = 7, 3, 6, 5, 2
pytestmark = pytest.mark.usefixtures("implementation")
PAIRS = [pytest.param(LSTM, nn.LSTM, id="LSTM"), pytest.param(GRU, nn.GRU, id="GRU")]


def shapes(results) -> list[tuple[int, ...]]:
    """The shapes of all tensors in nested tuples, in order; for a PackedSequence, the shape of its data."""
    leaves = tree_leaves(results, is_leaf=lambda part: isinstance(part, PackedSequence))
    return [getattr(leaf, "data", leaf).shape for leaf in leaves]


def packed(features: int = E, batch_first: bool = False) -> PackedSequence:
    x = torch.randn(B, T, features) if batch_first else torch.randn(T, B, features)
    return pack_padded_sequence(x, torch.tensor([7, 3, 2]), batch_first)


FORMS = {
    "batch": lambda first: torch.randn(*((B, T) if first else (T, B)), E),
    "single": lambda first: torch.randn(T, E),
    "packed": lambda first: packed(E, first),
}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_shapes_match_pytorch(ours, theirs, bidirectional, batch_first, form):
    options = {"num_layers": L, "bidirectional": bidirectional, "batch_first": batch_first}
    x, mine = FORMS[form](batch_first), ours(E, D, **options)
    results = mine(x)
    assert shapes(results) == shapes(theirs(E, D, **options)(x))
    assert shapes(mine(x, results[1])) == shapes(results)  # the returned state is accepted as hx


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_shapes_with_projections_match_pytorch(bidirectional, batch_first):
    options = {"proj_size": 3, "bidirectional": bidirectional, "batch_first": batch_first}
    x, mine = FORMS["batch"](batch_first), LSTM(E, D, L, **options)
    results = mine(x)
    # On the meta device, because on the CPU PyTorch's LSTM warns about its projection.
    assert shapes(results) == shapes(nn.LSTM(E, D, L, **options, device="meta")(x.to("meta")))
    assert shapes(mine(x, results[1])) == shapes(results)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_argument_order_matches_pytorch(ours, theirs):
    names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
    names += ["proj_size"] * (ours is LSTM)
    values = [6, 5, 2, False, True, 0.25, True, *[3] * (ours is LSTM)]
    peer = theirs(*values, device="meta")
    mine = ours(*values, "meta", torch.float64)
    for name in [*names, "proj_size", "mode"]:
        assert getattr(mine, name) == getattr(peer, name)
    assert {(p.device.type, p.dtype) for p in mine.parameters()} == {("meta", torch.float64)}
    assert list(inspect.signature(ours).parameters) == [*names, "device", "dtype", "learn_initial_state"]
    assert list(inspect.signature(ours.forward).parameters)[:3] == ["self", "input", "hx"]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_modules_are_instances_of_pytorchs_classes(ours, theirs):
    assert isinstance(ours(E, D), theirs)


def test_a_gru_has_no_projection():
    with pytest.raises(TypeError, match="proj_size"):
        GRU(E, D, proj_size=2)


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_weights_and_results_match_an_sru(kind, bidirectional):
    mine = kind(E, D, L, bidirectional=bidirectional)
    sru = SRU(E, D, L, bidirectional=bidirectional, nn_rnn_compatible_return=True)
    sru.load_state_dict(mine.state_dict())
    x, c0 = torch.randn(T, B, E), torch.randn(L * (2 if bidirectional else 1), B, D)
    expected = sru(x, c0)
    output, states = mine(x, (c0, c0) if kind is LSTM else c0)
    assert torch.equal(output, expected[0])
    assert torch.equal(states[1] if kind is LSTM else states, expected[1])


def test_dropout_acts_between_layers():
    rnn = LSTM(D, D, 2, dropout=0.5)
    assert [cell.dropout for cell in rnn.rnn_lst] == [0.5, 0.0]
    x = torch.randn(T, B, D)
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])
    with pytest.warns(UserWarning, match="dropout = 0.5 has no effect with num_layers = 1"):
        GRU(E, D, dropout=0.5)


def test_projection_keeps_the_variance():
    weight = LSTM(E, 400, proj_size=300).projections[0][0].weight
    torch.testing.assert_close(weight.var() * 400, torch.tensor(1.0), rtol=0.02, atol=0)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("proj_size", [0, 2])
def test_attributes_that_code_for_pytorch_reads(ours, theirs, bias, proj_size):
    options = {"bias": bias, "bidirectional": True} | ({"proj_size": proj_size} if ours is LSTM else {})
    rnn = ours(E, D, L, **options, dtype=torch.float64)
    rnn.flatten_parameters()
    lists, expected = rnn.all_weights, theirs(E, D, L, **options, device="meta").all_weights
    assert [len(weights) for weights in lists] == [len(weights) for weights in expected]
    memory = {weight.data_ptr() for weight in itertools.chain(*lists) if weight.numel()}
    assert memory == {p.data_ptr() for p in rnn.parameters()}
    assert all(weight.dtype == torch.float64 for weight in itertools.chain(*lists))
    assert "6, 5" in repr(rnn)
    assert "num_layers=2" in repr(rnn)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_weights_of_pytorch_are_refused(ours, theirs):
    with pytest.raises(RuntimeError, match=rf"cannot load them; retrain with sru_nn\.compat\.{ours.mode}\b"):
        ours(E, D).load_state_dict(theirs(E, D).state_dict())


def state(*shape: int, kind=LSTM):
    return (torch.zeros(shape), torch.zeros(shape)) if kind is LSTM else torch.zeros(shape)


WRONG_CALLS = {
    "features": (lambda m: m(torch.randn(T, B, 4)), "input must have shape (T, B, E) or (T, E) with E = 6"),
    "dimensions": (lambda m: m(torch.randn(1, T, B, E)), "input must have shape (T, B, E) or (T, E)"),
    "packed features": (
        lambda m: m(packed(2)),
        "data must have shape (sum of lengths, E) with E = 6, got (12, 2)",
    ),
    "mask": (
        lambda m: m(torch.randn(T, B, E), mask_pad=torch.zeros(B, T)),
        "mask_pad must have shape (T, B) = (7, 3), got (3, 7)",
    ),
    "mask of a packed sequence": (
        lambda m: m(packed(), mask_pad=torch.zeros(T, B)),
        "a PackedSequence brings its own lengths; pass mask_pad=None",
    ),
    "state": (
        lambda m: m(torch.randn(T, B, E), state(L, 4, D, kind=type(m))),
        "NAME must have shape (L·N, B, H) = (2, 3, 5), got (2, 4, 5)",
    ),
    "state of a single sequence": (
        lambda m: m(torch.randn(T, E), state(L, 1, D, kind=type(m))),
        "NAME must have shape (L·N, H) = (2, 5), got (2, 1, 5)",
    ),
    "state of a packed sequence": (
        lambda m: m(packed(), state(L, 2, D, kind=type(m))),
        "NAME must have shape (L·N, B, H) = (2, 3, 5), got (2, 2, 5)",
    ),
}


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("case", WRONG_CALLS)
def test_wrong_calls(kind, case):
    call, message = WRONG_CALLS[case]
    message = message.replace("NAME", "h0" if kind is LSTM else "hx")
    with pytest.raises(ValueError, match=f"^{kind.mode}: .*" + re.escape(message)):
        call(kind(E, D, L))


def test_wrong_types_of_state():
    x = torch.randn(T, B, E)
    with pytest.raises(ValueError, match=r"LSTM: hx must be a pair \(h0, c0\), got one tensor"):
        LSTM(E, D)(x, torch.zeros(1, B, D))
    with pytest.raises(ValueError, match=r"LSTM: hx must be a pair \(h0, c0\), got 1 values"):
        LSTM(E, D)(x, (torch.zeros(1, B, D),))
    with pytest.raises(ValueError, match="GRU: hx must be one tensor, got 2 values"):
        GRU(E, D)(x, state(1, B, D))
    with pytest.raises(ValueError, match=re.escape("h0 must have shape (L·N, B, H_out) = (1, 3, 2)")):
        LSTM(E, D, proj_size=2)(x, state(1, B, D))


@pytest.mark.parametrize("way", ["forward", "step"])
def test_a_state_of_another_dtype_or_device(way):
    x, half = torch.randn(T, B, E), torch.zeros(1, B, D, dtype=torch.float16)

    def run(rnn, hx):
        return rnn(x, hx) if way == "forward" else rnn.step(x[0], hx)

    with pytest.raises(TypeError, match=r"^GRU: hx must be torch.float32 with the input of .*float32, got"):
        run(GRU(E, D), half)
    with pytest.raises(TypeError, match=r"^LSTM: c0 must be torch.float32 with the input"):
        run(LSTM(E, D), (half, half))
    elsewhere = torch.zeros(1, B, D, device="meta")
    with pytest.raises(
        ValueError, match=r"^GRU: the state must be on the device of the input, cpu, got meta"
    ):
        run(GRU(E, D), elsewhere)
    with pytest.raises(
        ValueError, match=r"^LSTM: the state must be on the device of the input, cpu, got meta"
    ):
        run(LSTM(E, D), (elsewhere, elsewhere))


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_sizes_of_numpy_do_not_overflow(kind):
    numpy = pytest.importorskip("numpy", reason="NumPy is not installed")
    rnn = kind(numpy.int8(100), numpy.int8(100), numpy.uint8(2), bidirectional=True)
    assert [type(size) for size in (rnn.input_size, rnn.hidden_size, rnn.num_layers)] == [int, int, int]
    assert rnn(torch.zeros(2, 1, 100))[0].shape == (2, 1, 200)


WRONG_ARGUMENTS = {
    "num_layers must be at least 1, got 0": {"num_layers": 0},
    "dropout must be a probability in [0, 1), got 1.0": {"num_layers": 2, "dropout": 1.0},
    "proj_size must be less than hidden_size = 5, or 0 for no projection, got 5": {"proj_size": 5},
}


@pytest.mark.parametrize("message", WRONG_ARGUMENTS)
def test_wrong_arguments(message):
    with pytest.raises(ValueError, match="^LSTM: " + re.escape(message)):
        LSTM(E, D, **WRONG_ARGUMENTS[message])
