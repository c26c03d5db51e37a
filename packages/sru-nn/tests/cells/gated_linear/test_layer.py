"""`GatedLinearRNN`: its equations, the initial memory of its gates, and invalid arguments."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sru_nn import GatedLinearRNN, reference

T, B, E, D, L = 7, 3, 5, 6, 2
pytestmark = pytest.mark.usefixtures("implementation")


@pytest.mark.parametrize("output_gate", [False, True])
def test_the_equations(output_gate):
    rnn = GatedLinearRNN(E, D, L, num_heads=2, key_size=4, output_gate=output_gate).double()
    for parameter in rnn.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(T, B, E, dtype=torch.float64)
    h, states = F.linear(x, rnn.input_to_hidden.weight), []
    for layer in rnn.layers:
        n = F.layer_norm(h, (D,), layer.norm.weight, layer.norm.bias)
        sizes = [8, 8, 8, D, *[D] * output_gate]
        parts = [F.linear(n, weight) for weight in layer.transform.weight.split(sizes)]
        q, k, u_g, v = (part.unflatten(-1, (2, -1)) for part in parts[:4])
        o, s = reference.gated_linear_recurrence(q, k, v, F.logsigmoid(u_g + layer.gate_bias))
        o = F.layer_norm(o, (D // 2,)).flatten(-2)
        h = h + F.linear(o * F.silu(parts[4]) if output_gate else o, layer.output.weight)
        states.append(s)
    h = F.layer_norm(h, (D,), rnn.norm.weight, rnn.norm.bias)
    torch.testing.assert_close(rnn(x), (h, torch.stack(states)))


def test_gates_keep_their_precision_in_half():
    """A gate of 1 − 1/4096 rounds to one in bfloat16 and would never forget."""
    rnn = GatedLinearRNN(D, D, 1, memory=4096).bfloat16()
    with torch.no_grad():
        rnn.layers[0].transform.weight.zero_()  # no keys: the state decays alone
    state = torch.ones_like(rnn(torch.zeros(1, 1, D).bfloat16())[1])
    _, last = rnn(torch.zeros(100, 1, D).bfloat16(), state)
    gates = torch.sigmoid(rnn.layers[0].gate_bias.double())
    torch.testing.assert_close(last[0, 0, :, :, 0].double(), gates**100, rtol=1e-5, atol=0)


def test_dropout_applies_only_in_training():
    rnn, x = GatedLinearRNN(E, D, L, dropout=0.5), torch.randn(T, B, E)
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])


def test_the_gates_initially_remember_from_four_to_memory_steps():
    rnn = GatedLinearRNN(E, D, 1, num_heads=2, key_size=5, memory=400)
    steps = 1 / (1 - torch.sigmoid(rnn.layers[0].gate_bias))
    expected = torch.tensor([4.0, 12.6491, 40.0, 126.4911, 400.0])
    torch.testing.assert_close(steps, expected.expand(2, 5), rtol=1e-3, atol=0)


def test_the_sizes_are_shown():
    rnn = GatedLinearRNN(E, D, L, num_heads=2, batch_first=True, output_gate=True)
    assert rnn.extra_repr() == (
        "5, 6, num_layers=2, batch_first=True, num_heads=2, key_size=3, output_gate=True"
    )
    assert GatedLinearRNN(D, D).input_to_hidden is None


WRONG = {
    "num_layers must be at least 1, got 0": {"num_layers": 0},
    r"dropout must be a probability in \[0, 1\), got 1": {"dropout": 1.0},
    "num_heads must be a divisor of hidden_size = 6, got 4": {"num_heads": 4},
    "key_size must be at least 1, got 0": {"key_size": 0},
    "memory must be at least 4, got 2": {"memory": 2},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments(message):
    with pytest.raises(ValueError, match=f"^GatedLinearRNN: {message}"):
        GatedLinearRNN(E, D, **WRONG[message])
