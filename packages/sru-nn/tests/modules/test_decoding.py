"""The short way of a decoding step: the same bits as the long one, and only where it may be taken."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sru_nn import SRU, backend
from sru_nn.modules import sru as stack

pytest.importorskip("sru_kernels", reason="the kernels are not installed")

E, D, B, L = 5, 6, 3, 3
OPTIONS = [
    {},
    {"bidirectional": True, "use_tanh": True},
    {"layer_norm": True, "use_relu": True},
    {"layer_norm": True, "normalize_after": True},
    {"projection_size": 2, "has_skip_term": False},
    {"proj_input_to_hidden_first": True, "v1": True},
    {"batch_first": True, "nn_rnn_compatible_return": True, "bidirectional": True},
]


@pytest.fixture(autouse=True)
def _backend():
    """The kernels alone: the reference has no short way."""
    with backend.using("kernels"):
        yield


@pytest.fixture
def steps(monkeypatch):
    """Count the steps that take the short way."""
    taken = []

    def count(*arguments):
        taken.append(arguments)
        return step(*arguments)

    step = stack.step
    monkeypatch.setattr(stack, "step", count)
    return taken


def long_way(rnn: SRU, x: torch.Tensor, c0: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(stack, "can_step", lambda *_: False)
        return rnn(x, c0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_same_bits(steps, options, with_state, dtype):
    rnn = SRU(E, D, L, dropout=0.3, **options).to(dtype).eval()
    x = torch.randn((B, 1, E) if rnn.batch_first else (1, B, E), dtype=dtype)
    c0 = long_way(rnn, x.flip(0), None)[1] if with_state else None
    expected = long_way(rnn, x, c0)
    with torch.inference_mode():
        actual = rnn(x, c0)
    assert len(steps) == 1
    for ours, theirs in zip(actual, expected, strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_a_sequence_step_by_step_is_the_sequence(steps):
    rnn, x = SRU(E, D, L).eval(), torch.randn(7, B, E)
    expected, last = rnn(x)
    c, outputs = None, []
    for t in range(7):
        h, c = rnn(x[t : t + 1], c)
        outputs.append(h)
    assert len(steps) == 7
    torch.testing.assert_close(torch.cat(outputs), expected)
    torch.testing.assert_close(c, last)


def hooked(rnn: SRU) -> None:
    rnn.rnn_lst[1].register_forward_hook(lambda module, args, output: (output[0] * 2, output[1]))


def parametrized(rnn: SRU) -> None:
    parametrize.register_parametrization(rnn.rnn_lst[0], "weight_c", nn.Tanh())


def in_training(rnn: SRU) -> None:
    rnn.train()


def in_half_precision(rnn: SRU) -> None:
    rnn.bfloat16()


@pytest.mark.parametrize("change", [hooked, parametrized, in_training, in_half_precision])
def test_what_takes_the_long_way(steps, change):
    rnn = SRU(E, D, L, dropout=0.3).eval()
    change(rnn)
    with torch.no_grad():
        rnn(torch.randn(1, B, E, dtype=rnn.rnn_lst[0].bias.dtype))
    assert not steps


def test_gradients_the_reference_and_longer_sequences_take_the_long_way(steps):
    rnn = SRU(E, D, L).eval()
    h, _ = rnn(torch.randn(1, B, E))
    h.sum().backward()
    with torch.no_grad():
        rnn(torch.randn(2, B, E))
        with backend.using("reference"):
            rnn(torch.randn(1, B, E))
    assert not steps


@torch.no_grad()
def test_wrong_inputs_have_the_same_errors():
    rnn = SRU(E, D, L)
    with pytest.raises(TypeError, match="must have the dtype of the parameters"):
        rnn(torch.randn(1, B, E).double())
    with pytest.raises(TypeError, match=r"c0 must be torch\.float32"):
        rnn(torch.randn(1, B, E), torch.zeros(L, B, D).double())
