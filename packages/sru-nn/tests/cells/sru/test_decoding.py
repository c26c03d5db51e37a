"""The short way of a decoding step: the same numbers as the long one, and only where it may be taken."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sru_nn import SRU, SRUCell, backend
from sru_nn.cells.sru import stack

pytest.importorskip("sru_kernels", reason="the kernels are not installed")

E, D, B, L = 5, 6, 3, 3
OPTIONS = [
    {},
    {"bidirectional": True, "use_tanh": True},
    {"layer_norm": True, "use_relu": True},
    {"layer_norm": True, "normalize_after": True},
    {"projection_size": 2, "has_skip_term": False},
    {"projection_size": 2, "rescale": True, "highway_bias": -1.0},
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


@pytest.mark.parametrize(
    ("dtype", "batch"),
    [(torch.float32, B), (torch.float32, 16), (torch.float64, B), (torch.bfloat16, B), (torch.float16, 1)],
)
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_same_numbers(steps, assert_close, options, with_state, dtype, batch):
    rnn = SRU(E, D, L, dropout=0.3, **options).eval()
    with torch.no_grad():
        for cell in rnn.rnn_lst:
            cell.bias.normal_()
    rnn.to(dtype)
    x = torch.randn((batch, 1, E) if rnn.batch_first else (1, batch, E), dtype=dtype)
    c0 = long_way(rnn, x.flip(0), None)[1] if with_state else None
    h, c = long_way(rnn.double(), x.double(), None if c0 is None else c0.double())
    rnn.to(dtype)
    with torch.inference_mode():
        actual = rnn(x, c0)
    assert len(steps) == 1
    assert actual[0].dtype == dtype
    assert actual[1].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_close(actual[0], h.to(dtype))
    assert_close(actual[1].to(dtype), c.to(dtype))


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


def hooked_projection(rnn: SRU) -> None:
    rnn.rnn_lst[1].transform.register_forward_hook(lambda module, args, output: output * 2)


def hooked_inner_projection(rnn: SRU) -> None:
    rnn.__init__(E, D, L, projection_size=2)
    rnn.rnn_lst[1].transform.down.register_forward_hook(lambda module, args, output: output * 2)


def parametrized(rnn: SRU) -> None:
    parametrize.register_parametrization(rnn.rnn_lst[0], "weight_c", nn.Tanh())


def parametrized_projection(rnn: SRU) -> None:
    parametrize.register_parametrization(rnn.rnn_lst[0].transform, "weight", nn.Tanh())


def with_another_projection(rnn: SRU) -> None:
    rnn.rnn_lst[0].transform = nn.Sequential(rnn.rnn_lst[0].transform, nn.Tanh())


def with_a_bias(rnn: SRU) -> None:
    rnn.rnn_lst[0].transform = nn.Linear(E, 4 * D)


def with_a_transposed_weight(rnn: SRU) -> None:
    linear = rnn.rnn_lst[0].transform
    linear.weight = nn.Parameter(linear.weight.detach().t().contiguous().t())


def with_another_norm(rnn: SRU) -> None:
    rnn.rnn_lst[0].layer_norm = nn.RMSNorm(E)


def in_training(rnn: SRU) -> None:
    rnn.train()


@pytest.mark.parametrize(
    "change",
    [
        hooked,
        hooked_projection,
        hooked_inner_projection,
        parametrized,
        parametrized_projection,
        with_another_projection,
        with_a_bias,
        with_a_transposed_weight,
        with_another_norm,
        in_training,
    ],
)
def test_what_takes_the_long_way(steps, change):
    rnn = SRU(E, D, L, dropout=0.3).eval()
    change(rnn)
    with torch.no_grad():
        rnn(torch.randn(1, B, E))
    assert not steps


@pytest.mark.parametrize(
    ("dtype", "batch"),
    [(torch.float32, 17), (torch.bfloat16, 17), (torch.float64, 5), (torch.float16, 2)],
)
@torch.no_grad()
def test_a_batch_for_which_a_matrix_product_is_better(steps, dtype, batch):
    SRU(E, D, L).to(dtype)(torch.randn(1, batch, E, dtype=dtype))
    assert not steps


@torch.no_grad()
def test_states_of_another_dtype_take_the_long_way(steps):
    rnn = SRU(E, D, L).bfloat16()
    rnn(torch.randn(1, B, E).bfloat16(), torch.zeros(L, B, D).bfloat16())
    assert not steps


@torch.no_grad()
def test_a_layer_of_another_width_has_the_error_of_the_long_way(steps):
    rnn = SRU(E, D, L)
    rnn.rnn_lst[1] = SRUCell(D + 1, D)
    with pytest.raises(ValueError, match=r"SRUCell: input must have shape .* with E = 7, got \(1, 3, 6\)"):
        rnn(torch.randn(1, B, E))
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
