"""`MinGRU`: its equations, and invalid arguments of residual stacks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sru_nn import MinGRU, reference

T, B, E, D, L = 7, 3, 5, 6, 2


@pytest.mark.usefixtures("implementation")
def test_the_equations():
    rnn = MinGRU(E, D, L).double()
    for parameter in rnn.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(T, B, E, dtype=torch.float64)
    h, states = F.linear(x, rnn.input_to_hidden.weight), []
    for layer in rnn.layers:
        n = F.layer_norm(h, (D,), layer.norm.weight, layer.norm.bias)
        candidate, z = (
            F.linear(n, w) + b for w, b in zip(layer.transform.weight.split(D), layer.bias, strict=True)
        )
        y, last = reference.mingru_recurrence(torch.stack([candidate, z], 2))
        h = h + F.linear(y, layer.output.weight)
        states.append(last)
    h = F.layer_norm(h, (D,), rnn.norm.weight, rnn.norm.bias)
    torch.testing.assert_close(rnn(x), (h, torch.stack(states)))


def test_dropout_applies_only_in_training():
    rnn, x = MinGRU(E, D, L, dropout=0.5), torch.randn(T, B, E)
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])


def test_the_sizes_are_shown():
    assert MinGRU(D, D).extra_repr() == "6, 6, num_layers=2"
    assert MinGRU(D, D).input_to_hidden is None


def test_wrong_arguments():
    with pytest.raises(ValueError, match="MinGRU: input_size must be at least 1, got 0"):
        MinGRU(0, D)
    with pytest.raises(ValueError, match=r"MinGRU: dropout must be a probability in \[0, 1\), got 1"):
        MinGRU(E, D, dropout=1.0)


X = torch.randn(T, B, E)
WRONG_CALLS = {
    r"input must have shape \(T, B, E\) or \(T, E\) with E = 5, got": lambda m: m(torch.randn(T, B, E + 1)),
    r"mask_pad must have shape \(T, B\) = \(7, 3\), got \(3, 7\)": lambda m: m(X, None, torch.zeros(B, T)),
    r"state must have shape \(L, B, D\) = \(2, 3, 6\), got \(1, 1\)": lambda m: m(X, torch.zeros(1, 1)),
    r"state must have shape \(L, D\) = \(2, 6\), got \(1, 1\)": lambda m: m(X[:, 0], torch.zeros(1, 1)),
    r"step: x must have shape \(B, E\) or \(E,\) with E = 5, got": lambda m: m.step(X),
}


@pytest.mark.parametrize("message", WRONG_CALLS)
def test_wrong_calls(message):
    with pytest.raises(ValueError, match=message):
        WRONG_CALLS[message](MinGRU(E, D, L))


def test_an_input_of_another_dtype():
    with pytest.raises(TypeError, match=r"input must have the dtype of the parameters, torch.float32, got"):
        MinGRU(E, D)(X.double())
