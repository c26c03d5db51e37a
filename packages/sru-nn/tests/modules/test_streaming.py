"""One step at a time, or a few: the outputs and states of the whole sequence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sru_nn import SRU, SRUCell

T, B, E, D, L = 7, 3, 6, 5, 2
DTYPE = torch.float64


class Linear(nn.Module):
    """A custom transform, with recurrent vectors of its own at each position."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Linear(D, 3 * D), nn.Linear(D, 2 * D)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.u(x), self.v(x)


OPTIONS = [
    {},
    {"use_tanh": True, "highway_bias": -1.0, "rescale": True},
    {"use_relu": True, "has_skip_term": False},
    {"layer_norm": True, "projection_size": 2},
    {"layer_norm": True, "normalize_after": True},
    {"v1": True, "weight_c_init": 0.5},
    {"proj_input_to_hidden_first": True, "custom_m": Linear()},
]
FORMS = [
    {},
    {"batch_first": True},
    {"batch_first": True, "nn_rnn_compatible_return": True},
]


def randomised(rnn: SRU) -> SRU:
    for cell in rnn.rnn_lst:
        nn.init.normal_(cell.bias)
    return rnn.to(DTYPE)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_step_is_a_sequence_of_one(form, with_state, training):
    rnn = randomised(SRU(E, D, L, dropout=0.5, rnn_dropout=0.5, **form)).train(training)
    x = torch.randn(B, E, dtype=DTYPE)
    time = 1 if rnn.batch_first else 0
    state = rnn(torch.randn_like(x).unsqueeze(time))[1].detach() if with_state else None
    torch.manual_seed(1)
    expected, last = rnn(x.unsqueeze(time), state)
    torch.manual_seed(1)
    h, state = rnn.step(x, state)
    assert h.shape == (B, rnn.output_size)
    assert torch.equal(h, expected.squeeze(time))
    assert torch.equal(state, last)


@pytest.mark.parametrize("form", FORMS)
def test_a_step_of_a_single_sequence(form):
    rnn = randomised(SRU(E, D, L, **form))
    x = torch.randn(2, E, dtype=DTYPE)
    h, state = rnn.step(x[0])
    h, state = rnn.step(x[1], state)
    assert h.shape == (rnn.output_size,)
    if not rnn.bidirectional:
        expected, last = rnn(x)
        torch.testing.assert_close(h, expected[1])
        torch.testing.assert_close(state, last)


@pytest.mark.parametrize("no_grad", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_step_by_step(options, no_grad):
    rnn, x = randomised(SRU(E, D, L, **options)), torch.randn(T, B, E, dtype=DTYPE)
    expected, last = rnn(x)
    state, outputs = None, []
    with torch.set_grad_enabled(not no_grad):
        for x_t in x:
            h, state = rnn.step(x_t, state)
            outputs.append(h)
    torch.testing.assert_close(torch.stack(outputs), expected)
    torch.testing.assert_close(state, last)


@settings(deadline=None, max_examples=40)
@given(
    options=st.sampled_from(OPTIONS),
    batch_first=st.booleans(),
    compatible=st.booleans(),
    masked=st.booleans(),
    with_state=st.booleans(),
    no_grad=st.booleans(),
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    batch=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_chunks_of_any_sizes(
    options, batch_first, compatible, masked, with_state, no_grad, sizes, batch, seed
):
    torch.manual_seed(seed)
    form = {"batch_first": batch_first, "nn_rnn_compatible_return": compatible}
    rnn, length = randomised(SRU(E, D, L, **options, **form)), sum(sizes)
    time = 1 if batch_first else 0
    shape = (batch, length) if batch_first else (length, batch)
    x = torch.randn(*shape, E, dtype=DTYPE)
    mask = torch.rand(shape) < 0.4 if masked else None
    c0 = torch.randn(L, batch, D, dtype=DTYPE) if with_state else None
    masks = [None] * len(sizes) if mask is None else mask.split(sizes, time)
    with torch.set_grad_enabled(not no_grad):
        expected, last = rnn(x, c0, mask)
        state, outputs = c0, []
        for part, mask_pad in zip(x.split(sizes, time), masks, strict=True):
            h, state = rnn(part, state, mask_pad)
            outputs.append(h)
    torch.testing.assert_close(torch.cat(outputs, time), expected)
    torch.testing.assert_close(state, last)


def test_gradients_flow_through_the_steps():
    rnn, x = randomised(SRU(E, D, L)), torch.randn(T, B, E, dtype=DTYPE)

    def gradients(h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((h * h).sum() + c.sum(), list(rnn.parameters()))

    expected = gradients(*rnn(x))
    state, outputs = None, []
    for x_t in x:
        h, state = rnn.step(x_t, state)
        outputs.append(h)
    for ours, theirs in zip(gradients(torch.stack(outputs), state), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("inputs", [E, D])
def test_a_cell_step_by_step(inputs):
    cell, x = SRUCell(inputs, D, use_tanh=True).to(DTYPE), torch.randn(T, B, inputs, dtype=DTYPE)
    expected, last = cell(x)
    c, outputs = None, []
    for x_t in x:
        h, c = cell.step(x_t, c)
        assert h.shape == c.shape == (B, D)
        outputs.append(h)
    torch.testing.assert_close(torch.stack(outputs), expected)
    torch.testing.assert_close(c, last)


def test_hooks_see_the_steps():
    rnn, seen = SRU(E, D, L), []
    rnn.register_forward_hook(lambda module, args, output: seen.append(args[0].shape))
    rnn.step(torch.randn(B, E))
    assert seen == [(1, B, E)]


@pytest.mark.parametrize("shape", [(T, B, E), (B, E + 1), (E + 1,), ()])
def test_what_a_step_refuses(shape):
    with pytest.raises(ValueError, match=r"SRU\.step: x must have shape \(B, E\) or \(E,\) with E = 6, got"):
        SRU(E, D, L).step(torch.randn(shape))


@pytest.mark.parametrize("shape", [(T, B, E), (B, E + 1), (E,), ()])
def test_what_a_step_of_a_cell_refuses(shape):
    with pytest.raises(ValueError, match=r"SRUCell\.step: x must have shape \(B, E\) with E = 6, got"):
        SRUCell(E, D).step(torch.randn(shape))


def test_a_state_that_does_not_fit_has_the_error_of_forward():
    with pytest.raises(ValueError, match=r"SRU: c0 must have shape \(L, B, N·D\) = \(2, 3, 5\), got"):
        SRU(E, D, L).step(torch.randn(B, E), torch.zeros(L, B, D + 1))
    with pytest.raises(ValueError, match=r"SRUCell: c0 must have shape \(B, N·D\) = \(3, 5\), got"):
        SRUCell(E, D).step(torch.randn(B, E), torch.zeros(B, D + 1))


@pytest.mark.parametrize("module", [SRU(E, D, L, bidirectional=True), SRUCell(E, D, bidirectional=True)])
def test_two_directions_refuse_a_step(module):
    with pytest.raises(ValueError, match=r"step: a bidirectional module cannot run step by step, .* call fo"):
        module.step(torch.randn(B, E))
