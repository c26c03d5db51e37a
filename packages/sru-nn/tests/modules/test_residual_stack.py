"""`GatedLinearRNN` and `MinGRU`: the equations, the forms of input and state, steps, what is refused."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from sru_nn import GatedLinearRNN, MinGRU, reference

T, B, E, D, L = 7, 3, 5, 6, 2
MODULES = {
    "GatedLinearRNN": lambda **form: GatedLinearRNN(E, D, L, num_heads=2, key_size=4, **form),
    "with an output gate": lambda **form: GatedLinearRNN(E, D, L, output_gate=True, **form),
    "MinGRU": lambda **form: MinGRU(E, D, L, **form),
}


@pytest.fixture(params=MODULES)
def make(request):
    def build(**form) -> nn.Module:
        rnn = MODULES[request.param](**form).double()
        for parameter in rnn.parameters():
            nn.init.normal_(parameter, std=0.5)
        return rnn

    return build


def inputs(length: int = T) -> Tensor:
    return torch.randn(length, B, E, dtype=torch.float64)


def test_the_equations_of_the_gated_linear_rnn():
    rnn, x = MODULES["with an output gate"]().double(), inputs()
    h, states = F.linear(x, rnn.input_to_hidden.weight), []
    for layer in rnn.layers:
        n = F.layer_norm(h, (D,), layer.norm.weight, layer.norm.bias)
        q, k, u_g, v, u_r = (F.linear(n, w) for w in layer.transform.weight.split(D))
        heads = [t.unsqueeze(2) for t in (q, k, v, F.logsigmoid(u_g + layer.gate_bias[0]))]
        o, s = reference.gated_linear_recurrence(*heads)
        o = F.layer_norm(o.squeeze(2), (D,)) * F.silu(u_r)
        h = h + F.linear(o, layer.output.weight)
        states.append(s)
    h = F.layer_norm(h, (D,), rnn.norm.weight, rnn.norm.bias)
    torch.testing.assert_close(rnn(x), (h, torch.stack(states)))


def test_the_equations_of_the_mingru():
    rnn, x = MODULES["MinGRU"]().double(), inputs()
    h, states = F.linear(x, rnn.input_to_hidden.weight), []
    for layer in rnn.layers:
        nn.init.normal_(layer.bias)
        n = F.layer_norm(h, (D,), layer.norm.weight, layer.norm.bias)
        candidate, z = (F.linear(n, w) + b for w, b in zip(layer.transform.weight.split(D), layer.bias))  # noqa: B905
        y, last = reference.mingru_recurrence(torch.stack([candidate, z], 2))
        h = h + F.linear(y, layer.output.weight)
        states.append(last)
    h = F.layer_norm(h, (D,), rnn.norm.weight, rnn.norm.bias)
    torch.testing.assert_close(rnn(x), (h, torch.stack(states)))


@pytest.mark.parametrize("batch_first", [False, True])
def test_step_by_step(make, batch_first):
    rnn, x = make(batch_first=batch_first), inputs()
    h, last = rnn(x.transpose(0, 1) if batch_first else x)
    state, outputs = None, []
    for x_t in x:
        h_t, state = rnn.step(x_t, state)
        assert h_t.shape == (B, D)
        outputs.append(h_t)
    torch.testing.assert_close(torch.stack(outputs, 1 if batch_first else 0), h)
    torch.testing.assert_close(state, last)


def test_chunks_of_any_sizes(make):
    rnn = make()

    @settings(deadline=None, max_examples=15)
    @given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4), masked=st.booleans())
    @torch.no_grad()
    def check(sizes, masked):
        x = inputs(sum(sizes))
        mask = torch.rand(x.shape[:2]) < 0.3 if masked else None
        h, last = rnn(x, None, mask)
        state, outputs = None, []
        masks = mask.split(sizes) if masked else [None] * len(sizes)
        for part, mask_pad in zip(x.split(sizes), masks, strict=True):
            y, state = rnn(part, state, mask_pad)
            outputs.append(y)
        torch.testing.assert_close((torch.cat(outputs), state), (h, last))

    check()


def test_gradients_flow_through_the_steps(make):
    rnn, x, state, outputs = make(), inputs(), None, []
    for x_t in x:
        h_t, state = rnn.step(x_t, state)
        outputs.append(h_t)
    found = []
    for h, last in (rnn(x), (torch.stack(outputs), state)):
        found.append(torch.autograd.grad(h.square().sum() + last.sum(), list(rnn.parameters())))
    torch.testing.assert_close(*found)


def test_batch_first_and_a_single_sequence(make):
    rnn, x = make(), inputs()
    state = torch.randn_like(rnn(x)[1])
    mask = torch.rand(T, B) < 0.4
    h, last = rnn(x, state, mask)
    rnn.batch_first = True
    h_first, last_first = rnn(x.transpose(0, 1), state, mask.t())
    torch.testing.assert_close((h_first.transpose(0, 1), last_first), (h, last))
    for b in range(B):
        h_one, last_one = rnn(x[:, b], state[:, b], mask[:, b])
        torch.testing.assert_close((h_one, last_one), (h[:, b], last[:, b]))
    h_step, last_step = rnn.step(x[0, 0], state[:, 0])
    assert h_step.shape == (D,)
    torch.testing.assert_close(last_step, rnn(x[:1, 0], state[:, 0])[1])


def test_packed_sequences(make):
    rnn, lengths = make(), (2, 5, 3)
    sequences = [torch.randn(length, E, dtype=torch.float64) for length in lengths]
    state = torch.randn_like(rnn(inputs())[1])
    h, last = rnn(pack_sequence(sequences, enforce_sorted=False), state)
    padded, _ = pad_packed_sequence(h)
    for b, sequence in enumerate(sequences):
        expected, expected_last = rnn(sequence, state[:, b])
        torch.testing.assert_close(padded[: lengths[b], b], expected)
        torch.testing.assert_close(last[:, b], expected_last)
    with pytest.raises(ValueError, match="a PackedSequence brings its own lengths; pass mask_pad=None"):
        rnn(pack_sequence(sequences, enforce_sorted=False), None, torch.zeros(5, 3))


def test_padding(make):
    rnn, x = make(), inputs()
    mask = torch.zeros(T, B, dtype=torch.bool)
    mask[4:, 1] = True
    h, last = rnn(x, None, mask)
    h_short, last_short = rnn(x[:4])
    assert (h[mask] == 0).all()
    torch.testing.assert_close(h[:4, 1], h_short[:, 1])
    torch.testing.assert_close(last[:, 1], last_short[:, 1])
    x[mask] = torch.nan
    h_nan, _ = rnn(x, None, mask.float())
    assert torch.equal(h_nan, h)
    assert all(g.isfinite().all() for g in torch.autograd.grad(h_nan.sum(), list(rnn.parameters())))


@pytest.mark.parametrize("shape", [(0, B), (T, 0), (1, 1)])
def test_empty_and_smallest(make, shape):
    rnn = make()
    h, last = rnn(torch.randn(*shape, E, dtype=torch.float64))
    assert h.shape == (*shape, D)
    assert last.shape[:2] == (L, shape[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_state_in_float32(make, dtype):
    rnn, x = make(), inputs(40)
    expected, _ = rnn(x)
    h, last = rnn.to(dtype)(x.to(dtype))
    assert h.dtype == dtype
    assert last.dtype == torch.float32
    assert (h.double() - expected).abs().mean() < 0.02
    rnn.step(x[0].to(dtype), last)


def test_autocast(make):
    rnn, x = make().float(), inputs(40).float()
    with torch.autocast("cpu", torch.bfloat16):
        h, last = rnn(x)
        h.sum().backward()
    assert last.dtype == torch.float32
    assert (h.float() - rnn(x)[0]).abs().mean() < 0.02
    assert all(parameter.grad.dtype == torch.float32 for parameter in rnn.parameters())


def test_dropout_is_of_training_alone(make):
    rnn, x = make(dropout=0.5), inputs()
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])


def test_copies(make):
    rnn, x = make(), inputs()
    fresh = make()
    fresh.load_state_dict(rnn.state_dict())
    for twin in (copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn)), fresh):
        assert torch.equal(twin(x)[0], rnn(x)[0])


def test_reset_parameters_draws_all_anew(make):
    rnn = make()
    before = copy.deepcopy(rnn.state_dict())
    rnn.reset_parameters()
    assert not any(torch.equal(value, before[name]) for name, value in rnn.state_dict().items())


def test_the_gates_remember_from_four_steps_to_as_many_as_asked_for():
    rnn = GatedLinearRNN(E, D, 1, num_heads=2, key_size=5, memory=400)
    steps = 1 / (1 - torch.sigmoid(rnn.layers[0].gate_bias))
    expected = torch.tensor([4.0, 12.6491, 40.0, 126.4911, 400.0])
    torch.testing.assert_close(steps, expected.expand(2, 5), rtol=1e-3, atol=0)


def test_the_sizes_are_shown():
    rnn = GatedLinearRNN(E, D, L, num_heads=2, batch_first=True, output_gate=True)
    assert rnn.extra_repr() == (
        "5, 6, num_layers=2, batch_first=True, num_heads=2, key_size=3, output_gate=True"
    )
    assert MinGRU(D, D).extra_repr() == "6, 6, num_layers=2"
    assert MinGRU(D, D).input_to_hidden is None


WRONG = {
    "input_size": (lambda: MinGRU(0, D), "MinGRU: input_size must be at least 1, got 0"),
    "num_layers": (lambda: GatedLinearRNN(E, D, 0), "GatedLinearRNN: num_layers must be at least 1, got 0"),
    "dropout": (lambda: MinGRU(E, D, dropout=1.0), r"dropout must be a probability in \[0, 1\), got 1"),
    "num_heads": (
        lambda: GatedLinearRNN(E, D, num_heads=4),
        "num_heads must be a divisor of hidden_size = 6, got 4",
    ),
    "key_size": (lambda: GatedLinearRNN(E, D, key_size=0), "key_size must be at least 1, got 0"),
    "memory": (lambda: GatedLinearRNN(E, D, memory=2), "memory must be at least 4, got 2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    build, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        build()


def test_wrong_inputs(make):
    rnn = make()
    with pytest.raises(ValueError, match=r"input must have shape \(T, B, E\) or \(T, E\) with E = 5, got"):
        rnn(torch.randn(T, B, E + 1))
    with pytest.raises(ValueError, match=r"mask_pad must have the shape of the input without its features"):
        rnn(inputs(), None, torch.zeros(B, T))
    with pytest.raises(ValueError, match=r"state must have shape \(L, B, .*\) = \(2, 3, .*, got \(1, 1\)"):
        rnn(inputs(), torch.zeros(1, 1).double())
    with pytest.raises(ValueError, match=r"state must have shape \(L, .*\) = \(2, .*, got \(1, 1\)"):
        rnn(inputs()[:, 0], torch.zeros(1, 1).double())
    with pytest.raises(ValueError, match=r"step: x must have shape \(B, E\) or \(E,\) with E = 5, got"):
        rnn.step(inputs())
    with pytest.raises(TypeError, match=r"input must have the dtype of the parameters, torch.float64, got"):
        rnn(inputs().float())
