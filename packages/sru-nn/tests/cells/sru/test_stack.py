"""Specific to the stack of SRU layers: two forms of its state, dropout, arguments of `sru`, errors."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from sru_nn import SRU

T, B, E, D, L = 7, 3, 6, 5, 2
pytestmark = pytest.mark.usefixtures("implementation")


@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_are_those_of_an_lstm_if_asked_for(bidirectional):
    n = 2 if bidirectional else 1
    rnn = SRU(E, D, L, bidirectional=bidirectional)
    x, c0 = torch.randn(T, B, E), torch.randn(L, B, n * D)
    h, c = rnn(x, c0)
    assert h.shape == (T, B, n * D)
    assert c.shape == (L, B, n * D)
    rnn.nn_rnn_compatible_return = True
    apart = c0.view(L, B, n, D).transpose(1, 2).reshape(L * n, B, D)
    h_apart, c_apart = rnn(x, apart)
    lstm = nn.LSTM(E, D, L, bidirectional=bidirectional)
    assert c_apart.shape == lstm(x)[1][1].shape
    assert torch.equal(h_apart, h)
    assert torch.equal(c_apart.view(L, n, B, D)[1, n - 1], c[1, :, (n - 1) * D :])
    assert torch.equal(rnn(x, c0)[0], h)  # both forms are accepted


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
    rnn.rnn_dropout = 0.0
    rnn(torch.ones(T, B, 50))
    assert (rnn.rnn_dropout, seen[1].unique().tolist()) == (0.0, [1.0])
    with pytest.raises(ValueError, match="SRU: rnn_dropout must be a probability"):
        rnn.rnn_dropout = 1.0


@pytest.mark.parametrize("half", [False, True])
def test_the_dtype_of_the_recurrence_under_autocast(half):
    rnn = SRU(E, E, L, amp_recurrence_fp16=half)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h, c = rnn(torch.randn(T, B, E))
    assert (h.dtype, c.dtype) == (torch.bfloat16 if half else torch.float32, torch.float32)


def test_old_position_of_every_argument():
    """`SRU(...)` calls written for `sru` 2.6.0 with positional arguments mean the same here."""
    rnn = SRU(
        6, 4, 3, 0.1, 0.2, True, 2, True, True, -1.0, False, True, True, True, None, True, True, True, 0.5
    )
    of_the_stack = {
        "input_size": 6,
        "hidden_size": 4,
        "num_layers": 3,
        "nn_rnn_compatible_return": True,
    }
    of_a_layer = {
        "dropout": 0.1,
        "rnn_dropout": 0.2,
        "bidirectional": True,
        "projection_size": 2,
        "activation": "tanh",
        "highway_bias": -1.0,
        "has_skip_term": False,
        "rescale": True,
        "v1": True,
        "amp_recurrence_fp16": True,
        "normalize_after": True,
        "weight_c_init": 0.5,
    }
    assert {name: getattr(rnn, name) for name in of_the_stack} == of_the_stack
    assert {name: getattr(rnn.rnn_lst[1], name) for name in of_a_layer} == of_a_layer
    assert rnn.rnn_lst[1].layer_norm is not None
    assert rnn.input_to_hidden is not None


def test_custom_m_is_copied_or_taken_layer_by_layer():
    rnn = SRU(D, D, 2, custom_m=nn.Linear(D, 3 * D))
    assert rnn.rnn_lst[0].custom_m is not rnn.rnn_lst[1].custom_m
    own = [nn.Linear(D, 3 * D), nn.Linear(D, 3 * D)]
    assert [cell.custom_m for cell in SRU(D, D, 2, custom_m=own).rnn_lst] == own
    assert [cell.transform_module for cell in SRU(D, D, 2, custom_m=own).rnn_lst] == own
    assert isinstance(SRU(D, D, 1)[0].transform_module, nn.Linear)
    assert isinstance(SRU(D, D, 1, projection_size=2)[0].transform_module, nn.Sequential)
    cell, other = SRU(D, D, 1)[0], nn.Linear(D, 3 * D, bias=False)
    cell.transform_module = other
    assert cell.transform is other
    assert "transform_module" not in dict(cell.named_children())


def test_a_subclass_may_keep_dropout_modules_of_its_own():
    class Encoder(SRU):
        def __init__(self):
            super().__init__(D, D, 2, dropout=0.5)
            self.dropout, self.rnn_dropout = nn.Dropout(0.25), nn.Dropout(0.1)

    encoder = copy.deepcopy(Encoder())
    assert (encoder.dropout.p, encoder.rnn_dropout.p) == (0.25, 0.1)
    assert encoder[0].dropout == 0.5
    assert encoder(torch.randn(3, 2, D))[0].shape == (3, 2, D)


def packed(features: int = E) -> object:
    return pack_padded_sequence(torch.randn(T, B, features), torch.tensor([7, 3, 2]))


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
        "mask_pad must have shape (T, B) = (7, 3), got (3, 7)",
    ),
    "c0 of a single sequence": (
        lambda rnn: rnn(torch.randn(T, E), torch.randn(L, 1, D)),
        "c0 must have shape (L, N·D) = (2, 5), got (2, 1, 5)",
    ),
    "mask of a single sequence": (
        lambda rnn: rnn(torch.randn(T, E), None, torch.zeros(1, T)),
        "mask_pad must have shape (T,) = (7,), got (1, 7)",
    ),
    "packed c0": (
        lambda rnn: rnn(packed(), torch.randn(L, 2, D)),
        "c0 must have shape (L, B, N·D) = (2, 3, 5), got (2, 2, 5)",
    ),
    "packed features": (lambda rnn: rnn(packed(2)), "data must have shape (sum of lengths, E) with E = 6"),
    "packed with a mask": (
        lambda rnn: rnn(packed(), None, torch.zeros(T, B)),
        "a PackedSequence brings its own lengths; pass mask_pad=None",
    ),
    "a sequence as a step": (
        lambda rnn: rnn.step(torch.randn(T, B, E)),
        "x must have shape (B, E) or (E,) with E = 6, got (7, 3, 6); pass a whole sequence to forward",
    ),
    "features of a step": (
        lambda rnn: rnn.step(torch.randn(E + 1)),
        "x must have shape (B, E) or (E,) with E = 6, got (7,)",
    ),
    "c0 of a step": (
        lambda rnn: rnn.step(torch.randn(B, E), torch.zeros(L, B, D + 1)),
        "c0 must have shape (L, B, N·D) = (2, 3, 5), got (2, 3, 6)",
    ),
}


@pytest.mark.parametrize("case", WRONG_CALLS)
def test_wrong_calls(case):
    call, message = WRONG_CALLS[case]
    with pytest.raises(ValueError, match=r"^SRU(\.step)?: .*" + re.escape(message)):
        call(SRU(E, D, L))


def test_wrong_mask_with_batch_first():
    rnn = SRU(E, D, L, batch_first=True)
    with pytest.raises(ValueError, match=re.escape("mask_pad must have shape (B, T) = (3, 7), got (7, 3)")):
        rnn(torch.randn(B, T, E), None, torch.zeros(T, B))


WRONG_INPUTS = {
    "dtype": (
        torch.randn(T, B, E).double(),
        TypeError,
        "input must have the dtype of the parameters, torch.float32, got torch.float64",
    ),
    "integers": (
        torch.ones(T, B, E, dtype=torch.int64),
        TypeError,
        "input must be a floating-point tensor, got torch.int64",
    ),
    "device": (
        torch.randn(T, B, E, device="meta"),
        ValueError,
        "input must be on the device of the parameters, cpu, got meta",
    ),
}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("case", WRONG_INPUTS)
def test_wrong_dtypes_and_devices(case, first):
    x, error, message = WRONG_INPUTS[case]
    rnn = SRU(E, D, L, proj_input_to_hidden_first=first)
    for given in [x] if case == "device" else [x, pack_padded_sequence(x, torch.tensor([7, 3, 2]))]:
        with pytest.raises(error, match=f"^SRU(Cell)?: {re.escape(message)}"):
            rnn(given)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="SRU: num_layers must be at least 1, got 0"):
        SRU(E, D, 0)
    with pytest.raises(ValueError, match="custom_m must be one value or one per layer, 2, got 1"):
        SRU(D, D, 2, custom_m=[nn.Linear(D, 3 * D)])
