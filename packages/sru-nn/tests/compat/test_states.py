"""The states of the drop-in modules, and how h0 is handled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sru_nn.compat import GRU, LSTM

T, B, E, D, L = 7, 3, 6, 5, 2
pytestmark = pytest.mark.usefixtures("implementation")


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("proj_size", [0, 2])
def test_h_n_is_the_last_output_of_each_layer_and_direction(bidirectional, proj_size):
    rnn = LSTM(E, D, L, bidirectional=bidirectional, proj_size=proj_size).double()
    x = torch.randn(T, B, E, dtype=torch.float64)
    output, (h_n, c_n) = rnn(x)
    expected, width = [], proj_size or D
    for layer, cell in enumerate(rnn.rnn_lst):
        x, _ = cell(x)
        if proj_size:
            halves = x.split(D, -1)
            x = torch.cat([m(half) for m, half in zip(rnn.projections[layer], halves, strict=True)], -1)
        expected += [x[-1, :, :width], x[0, :, width:]] if bidirectional else [x[-1]]
    torch.testing.assert_close(output, x)
    torch.testing.assert_close(h_n, torch.stack(expected))
    assert c_n.shape == (len(expected), B, D)
    upstream, weights = torch.randn_like(h_n), list(rnn.parameters())
    actual = torch.autograd.grad((h_n * upstream).sum(), weights)  # reaches every layer
    torch.testing.assert_close(actual, torch.autograd.grad((torch.stack(expected) * upstream).sum(), weights))


def test_h0_has_no_effect_with_a_c0_and_raises_without_one():
    rnn = LSTM(E, D, L)
    x, c0, zeros = torch.randn(T, B, E), torch.randn(L, B, D), torch.zeros(L, B, D)
    rnn(x, (zeros, zeros))
    with pytest.raises(ValueError, match=r"h0 is not zero but c0 is, .* pass the initial state as c0"):
        rnn(x, (torch.randn(L, B, D), zeros))
    expected, _ = rnn(x, (zeros, c0))
    assert torch.equal(rnn(x, (torch.randn(L, B, D), c0))[0], expected)


def test_h0_is_checked_until_a_state_has_been_carried(monkeypatch):
    """On a GPU every check synchronises."""
    rnn = LSTM(E, D, L)
    x, zeros = torch.randn(T, B, E), torch.zeros(L, B, D)
    looks = []
    looked = Tensor.any
    monkeypatch.setattr(Tensor, "any", lambda tensor: looks.append(1) or looked(tensor))
    hx, counts = (zeros, zeros), []
    for _ in range(4):
        _, hx = rnn(x, hx)
        counts.append(len(looks))
    assert counts == [1, 3, 3, 3]  # h0 alone; h0 and c0; no more checks


def test_a_computed_h0_of_a_gru_has_an_effect():
    rnn = GRU(E, D)
    h0 = torch.randn(1, B, D, requires_grad=True)
    output, _ = rnn(torch.randn(T, B, E), h0)
    output.sum().backward()
    assert h0.grad.ne(0).all()
    assert not torch.equal(output, rnn(torch.randn(T, B, E))[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_autocast_rounds_outputs_and_not_states(kind, dtype):
    rnn, x = kind(E, D, L), torch.randn(T, B, E, dtype=dtype)
    half = torch.zeros(L, B, D, dtype=torch.bfloat16)  # as a preceding layer would compute it
    with torch.autocast("cpu", torch.bfloat16):
        output, hx = rnn(x, (half, half) if kind is LSTM else half)
    *h, c = hx if kind is LSTM else (hx,)
    assert {part.dtype for part in (output, *h)} == {torch.bfloat16}
    assert c.dtype == torch.float32
