"""One step without gradients is a single kernel call, with the results of the full path."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sru_nn import SRU, SRUCell, backend
from sru_nn.cells.sru import run

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
def _kernels():
    """Use the kernels, because the reference has no fast path."""
    with backend.using("kernels"):
        yield


@pytest.fixture
def steps(monkeypatch):
    """Count the steps that take the fast path."""
    taken, step = [], run.step
    monkeypatch.setattr(run, "step", lambda *arguments: taken.append(1) or step(*arguments))
    return taken


def make(**options) -> SRU:
    rnn = SRU(E, D, L, **options)
    with torch.no_grad():
        for cell in rnn.rnn_lst:
            cell.bias.normal_()
    return rnn


def check(rnn: SRU, x: torch.Tensor, c0: torch.Tensor | None, assert_close) -> None:
    """Compare one step with what the layers compute one by one, in float64."""
    with torch.inference_mode():
        h, c = rnn(x, c0)
    assert (h.dtype, c.dtype) == (x.dtype, torch.float64 if x.dtype == torch.float64 else torch.float32)
    expected = rnn.double()(x.double(), None if c0 is None else c0.double())
    assert_close(h, expected[0].to(x.dtype))
    assert_close(c.to(x.dtype), expected[1].to(x.dtype))


@pytest.mark.parametrize(
    ("dtype", "batch"),
    [(torch.float32, B), (torch.float32, 16), (torch.float64, B), (torch.bfloat16, B), (torch.float16, 1)],
)
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_short_way(steps, assert_close, options, with_state, dtype, batch):
    rnn = make(dropout=0.3, **options).eval().to(dtype)
    x = torch.randn((batch, 1, E) if rnn.batch_first else (1, batch, E), dtype=dtype)
    c0 = torch.randn_like(rnn(x)[1]) if with_state else None
    assert not steps  # with gradients
    check(rnn, x, c0, assert_close)
    assert len(steps) == 1


def with_another_projection(rnn: SRU) -> None:
    rnn.rnn_lst[0].transform = nn.Sequential(rnn.rnn_lst[0].transform, nn.Tanh())


def with_a_bias(rnn: SRU) -> None:
    rnn.rnn_lst[0].transform = nn.Linear(E, 4 * D)


def with_a_transposed_weight(rnn: SRU) -> None:
    linear = rnn.rnn_lst[0].transform
    linear.weight = nn.Parameter(linear.weight.detach().t().contiguous().t())


def with_another_norm(rnn: SRU) -> None:
    rnn.rnn_lst[0].layer_norm = nn.RMSNorm(E)


def with_a_custom_transform(rnn: SRU) -> None:
    rnn.rnn_lst[1] = SRUCell(D, D, custom_m=nn.Linear(D, 3 * D))


@pytest.mark.parametrize(
    "change",
    [
        with_another_projection,
        with_a_bias,
        with_a_transposed_weight,
        with_another_norm,
        with_a_custom_transform,
    ],
)
def test_modified_layers_take_the_full_path(steps, assert_close, change):
    rnn = make().eval()
    change(rnn)
    check(rnn, torch.randn(1, B, E), None, assert_close)
    assert not steps


@pytest.mark.parametrize(
    ("dtype", "batch"),
    [(torch.float32, 17), (torch.bfloat16, 17), (torch.float64, 5), (torch.float16, 2)],
)
def test_a_batch_for_which_a_matrix_product_is_better(steps, assert_close, dtype, batch):
    check(make().to(dtype), torch.randn(1, batch, E).to(dtype), None, assert_close)
    assert not steps


@torch.no_grad()
def test_dropout_in_training(steps):
    rnn, x = make(dropout=0.5, has_skip_term=False), torch.randn(1, B, E)
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    assert not steps


@torch.no_grad()
def test_states_of_half_precision(steps, assert_close):
    rnn, x, c0 = make().bfloat16(), torch.randn(1, B, E).bfloat16(), torch.randn(L, B, D).bfloat16()
    results = rnn(x, c0)
    assert not steps
    for actual, expected in zip(results, rnn(x, c0.float()), strict=True):
        assert_close(actual.bfloat16(), expected.bfloat16())


WRONG = {
    r"SRUCell: input must have shape .* with E = 7, got \(1, 3, 6\)": (
        ValueError,
        torch.randn(1, B, E),
        None,
    ),
    "must have the dtype of the parameters": (TypeError, torch.randn(1, B, E).double(), None),
    r"c0 must be torch\.float32": (TypeError, torch.randn(1, B, E), torch.zeros(L, B, D).double()),
}


@torch.no_grad()
@pytest.mark.parametrize("message", WRONG)
def test_wrong_inputs_have_the_errors_of_a_longer_sequence(message):
    error, x, c0 = WRONG[message]
    rnn = make()
    if "E = 7" in message:
        rnn.rnn_lst[1] = SRUCell(D + 1, D)
    with pytest.raises(error, match=message):
        rnn(x, c0)
