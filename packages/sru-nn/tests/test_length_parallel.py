"""The length-parallel recurrence against the loop: outputs, every gradient, and what does not converge."""

from __future__ import annotations

import copy
import math
import pickle
import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sru_nn import SRU, SRUCell, backend, reference
from sru_nn.cells.sru import operator as ops
from sru_nn.experimental.length_parallel import LengthParallel, solve
from sru_nn.functional import sru_recurrence
from sru_nn.linear_scan import linear_scan

from .conftest import looks_at_grad

LEAVES = ("u", "v", "bias", "c0", "x", "mask_c")
NO_LIMIT = math.inf


def make_inputs(
    length: int,
    batch: int = 2,
    hidden: int = 3,
    *,
    gates: int = 3,
    bidirectional: bool = False,
    per_position: bool = False,
    scale_v: float = 1.0,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> dict:
    generator = torch.Generator().manual_seed(seed)
    columns = hidden * (2 if bidirectional else 1)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)

    return {
        "u": randn(length, batch, gates, columns),
        "v": scale_v * (randn(length, batch, 2, columns) if per_position else randn(2, columns)),
        "bias": randn(2, columns),
        "c0": randn(batch, columns),
        "x": randn(length, batch, columns) if gates == 3 else None,
        "mask_c": (torch.rand(batch, columns, generator=generator) < 0.7).to(dtype) / 0.7,
        "mask_pad": torch.rand(length, batch, generator=generator) < 0.3,
        "bidirectional": bidirectional,
    }


def outputs_and_gradients(inputs: dict, length_parallel: bool | LengthParallel) -> list[Tensor]:
    leaves = {
        name: inputs[name].detach().clone().requires_grad_() for name in LEAVES if inputs[name] is not None
    }
    with backend.using("reference"):
        results = sru_recurrence(**inputs | leaves, length_parallel=length_parallel)
    generator = torch.Generator().manual_seed(1)
    upstream = [torch.randn(r.shape, generator=generator, dtype=torch.float64).to(r.dtype) for r in results]
    return [*results, *torch.autograd.grad(results, list(leaves.values()), upstream)]


def forget_gate(inputs: dict) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    u_c, u_f = inputs["u"][:, :, 0], inputs["u"][:, :, 1] + inputs["bias"][0]
    return u_c, u_f, inputs["v"].unbind(-2)[0], inputs["c0"]


def next_states(c: Tensor, u_c: Tensor, u_f: Tensor, v_f: Tensor, c0: Tensor) -> Tensor:
    """Take each step from the state before it in `c`."""
    before = torch.cat([c0.unsqueeze(0), c])[:-1]
    f = torch.sigmoid(u_f + v_f * before)
    return f * before + (1 - f) * u_c


@settings(deadline=None, max_examples=60)
@given(
    length=st.integers(0, 70),
    chunk=st.integers(1, 20),
    batch=st.integers(0, 3),
    gates=st.sampled_from([3, 4]),
    bidirectional=st.booleans(),
    per_position=st.booleans(),
    padded=st.booleans(),
    activation=st.sampled_from(["identity", "tanh", "relu"]),
    seed=st.integers(0, 999),
)
def test_equals_the_loop(length, chunk, batch, gates, bidirectional, per_position, padded, activation, seed):
    inputs = make_inputs(
        length, batch, gates=gates, bidirectional=bidirectional, per_position=per_position, seed=seed
    )
    inputs |= {"activation": activation, "mask_pad": inputs["mask_pad"] if padded else None}
    # Not too large a v: where rounding errors grow from step to step, two computations cannot be compared.
    inputs["v"] *= 0.3
    expected = outputs_and_gradients(inputs, False)
    actual = outputs_and_gradients(inputs, LengthParallel(chunk=chunk, max_iterations=NO_LIMIT))
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 1e-3)],
    ids=["float32", "bfloat16", "float16"],
)
def test_other_storage_keeps_its_state_in_float32(dtype, tolerance):
    inputs = make_inputs(700, bidirectional=True, scale_v=0.3, dtype=dtype)
    expected = outputs_and_gradients(inputs, False)
    actual = outputs_and_gradients(inputs, LengthParallel(chunk=16, max_iterations=NO_LIMIT))
    assert actual[0].dtype == dtype
    assert actual[1].dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(actual[1], expected[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("per_position", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_first_and_second_derivatives(bidirectional, per_position):
    inputs = make_inputs(7, 2, 1, bidirectional=bidirectional, per_position=per_position)
    names = [name for name in LEAVES if inputs[name] is not None]
    leaves = [inputs[name].requires_grad_() for name in names]

    def run(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        given = {**inputs, **dict(zip(names, tensors, strict=True))}
        return sru_recurrence(**given, length_parallel=LengthParallel(chunk=2, max_iterations=NO_LIMIT))

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


@settings(deadline=None, max_examples=40)
@given(
    scale_v=st.sampled_from([1.0, 10.0, 100.0, 1e6]),
    scale_gate=st.sampled_from([0.01, 1.0, 30.0, 1e4]),
    chunk=st.integers(1, 30),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 999),
)
def test_hard_weights_obey_the_recurrence(scale_v, scale_gate, chunk, dtype, seed):
    """Saturated gates, switches and chaos: each step follows from the state before it."""
    inputs = make_inputs(90, scale_v=scale_v, dtype=dtype, seed=seed)
    inputs["u"][:, :, 1] *= scale_gate
    given = forget_gate(inputs)
    solution = solve(*given, LengthParallel(chunk=chunk, tolerance=0.0, max_iterations=NO_LIMIT))
    assert solution.looped == 0
    # With a steep gate rounding u_f + v_f ⊙ c differently is seen; only what two ways of it agree on counts.
    exact = next_states(*(tensor.double() for tensor in (solution.c, *given)))
    rounded = next_states(solution.c, *given).double()
    slack = 4 * (exact - rounded).abs() + 1e-5 * (1 if dtype == torch.float32 else 1e-8)
    assert ((solution.c.double() - exact).abs() <= slack).all()


def test_a_switch_that_nothing_forgets_is_followed():
    # The gate is open to the value that the state has already: two that hold themselves, and a push between.
    length = 400
    u_c, u_f = torch.full((length, 1, 2), -1.0), torch.zeros(length, 1, 2)
    u_c[150:153], u_f[150:153] = 1.0, -40.0
    u_c[:150:2], u_c[153::2] = 1.0, 1.0
    u_f[:150], u_f[153:] = 12.0, 12.0
    v_f, c0 = torch.tensor([8.0, -8.0]), torch.tensor([[-1.0, 1.0]])
    solution = solve(u_c, u_f, v_f, c0, LengthParallel(chunk=10, max_iterations=NO_LIMIT))
    expected = reference.sru_states(u_c, u_f, v_f, c0)[1]
    torch.testing.assert_close(solution.c, expected, rtol=1e-5, atol=1e-5)
    assert (expected[149] - expected[153]).abs().max() > 1  # it did flip


def test_it_takes_few_iterations_where_states_forget():
    inputs = make_inputs(4096, 1, 16, scale_v=0.3, dtype=torch.float32)
    solution = solve(*forget_gate(inputs))
    assert solution.looped == 0
    assert solution.iterations <= 3
    deer = solve(*forget_gate(inputs), LengthParallel(chunk=1))
    assert deer.looped == 0
    assert solution.iterations < deer.iterations <= 16


def test_it_takes_few_iterations_where_states_remember():
    """With f about 0.998 a chunk passes on nearly all it began with; wrong slopes take twice as many."""
    inputs = make_inputs(2048, 1, 32)
    inputs["u"][:, :, 1] += 6.0
    inputs["v"].uniform_(-1.0, 1.0, generator=torch.Generator().manual_seed(0))
    solution = solve(*forget_gate(inputs), LengthParallel(chunk=64))
    assert solution.looped == 0
    assert solution.iterations <= 10


@pytest.mark.parametrize("scale_v", [30.0, 300.0])
def test_slopes_whose_product_overflows_do_no_harm(scale_v):
    given = forget_gate(make_inputs(1000, 1, 32, scale_v=scale_v, dtype=torch.float32))
    solution = solve(*given, LengthParallel(chunk=1, max_iterations=NO_LIMIT))
    assert solution.looped == 0


def test_what_does_not_converge_is_looped_with_a_warning():
    inputs = make_inputs(300, 1, 8, scale_v=8.0) | {"mask_pad": None}
    options = LengthParallel(chunk=4, max_iterations=2)
    solution = solve(*forget_gate(inputs), options)
    assert 0 < solution.looped <= 8
    message = f"{solution.looped} of 8 states did not converge in {solution.iterations} length-parallel"
    with pytest.warns(RuntimeWarning, match=f"^sru_recurrence: {message}.* 300 steps were taken in a row"):
        h, c = sru_recurrence(**inputs, length_parallel=options)
    with backend.using("reference"):
        expected = sru_recurrence(**inputs)
    # Nothing chaotic was iterated on, so that even these weights allow a comparison.
    torch.testing.assert_close((h, c), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("gate", [0, 1])
def test_input_that_is_not_finite_comes_through_as_in_the_loop(bad, gate):
    inputs = make_inputs(100, 2, 2) | {"mask_pad": None}
    inputs["u"][37, 1, gate, 0] = bad
    with backend.using("reference"):
        expected = sru_recurrence(**inputs)
    actual = sru_recurrence(**inputs, length_parallel=LengthParallel(chunk=8, max_iterations=NO_LIMIT))
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10, equal_nan=True)


def test_nan_in_padding_reaches_nothing():
    inputs = make_inputs(60, 3, 2, bidirectional=True)
    pad = inputs["mask_pad"]
    options = LengthParallel(chunk=4, max_iterations=NO_LIMIT)
    expected = outputs_and_gradients(inputs, options)
    inputs["u"][pad], inputs["x"][pad] = torch.nan, torch.inf
    torch.testing.assert_close(outputs_and_gradients(inputs, options), expected, rtol=0, atol=0)


WRONG = {
    "chunk": ({"chunk": 0}, "chunk must be at least 1, got 0"),
    "tolerance": ({"tolerance": -1e-6}, "tolerance must be at least 0, or None, got -1e-06"),
    "tolerance nan": ({"tolerance": math.nan}, "tolerance must be at least 0, or None, got nan"),
    "max_iterations": ({"max_iterations": 0}, "max_iterations must be at least 1, got 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options(case):
    options, message = WRONG[case]
    with pytest.raises(ValueError, match="^LengthParallel: " + re.escape(message)):
        LengthParallel(**options)


def test_wrong_type_of_the_option():
    with pytest.raises(TypeError, match="length_parallel must be a bool or a LengthParallel, got int"):
        sru_recurrence(**make_inputs(4), length_parallel=64)


def test_arguments_are_checked_as_without_it():
    with pytest.raises(ValueError, match=r"sru_recurrence: c0 must have shape \(B, N·D\) = \(2, 3\)"):
        sru_recurrence(**make_inputs(4) | {"c0": torch.zeros(2, 5)}, length_parallel=True)


@pytest.mark.parametrize("make", [SRU, SRUCell])
def test_the_modules_take_it(make, monkeypatch):
    plain = make(5, 4, bidirectional=True).double()
    parallel = make(5, 4, bidirectional=True, length_parallel=LengthParallel(chunk=8)).double()
    parallel.load_state_dict(plain.state_dict())
    parallel = pickle.loads(pickle.dumps(copy.deepcopy(parallel)))
    x = torch.randn(50, 2, 5, dtype=torch.float64)
    mask_pad = torch.arange(50)[:, None] >= torch.tensor([50, 31])
    expected = [*plain(x, mask_pad=mask_pad)]
    expected += torch.autograd.grad(expected[0].sum(), list(plain.parameters()))
    # The kernels have no part in it.
    monkeypatch.setattr(ops, "sru_recurrence", None)
    actual = [*parallel(x, mask_pad=mask_pad)]
    actual += torch.autograd.grad(actual[0].sum(), list(parallel.parameters()))
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def test_a_module_without_options_takes_the_defaults():
    torch.manual_seed(0)
    rnn = SRU(4, 6, length_parallel=True)
    x = torch.randn(600, 1, 4)
    actual = rnn(x)
    for cell in rnn.rnn_lst:
        cell.length_parallel = False
    torch.testing.assert_close(actual, rnn(x), rtol=1e-4, atol=1e-4)


def test_the_transforms_of_torch_func_get_the_reference():
    inputs = make_inputs(40) | {"mask_pad": None, "mask_c": None}

    def loss(u: Tensor) -> Tensor:
        return sru_recurrence(**inputs | {"u": u}, length_parallel=LengthParallel(chunk=4))[0].sum()

    u = inputs["u"].clone().requires_grad_()
    torch.testing.assert_close(torch.func.grad(loss)(u.detach()), torch.autograd.grad(loss(u), u)[0])


@looks_at_grad
def test_the_operators_are_well_made():
    u_c, u_f, v_f, c0 = (tensor.clone().requires_grad_() for tensor in forget_gate(make_inputs(12)))
    torch.library.opcheck(torch.ops.sru_nn.sru_states, (u_c, u_f, v_f, c0, 3, None, 16.0))
    torch.library.opcheck(torch.ops.sru_nn.linear_scan, (u_f, u_c, True))


@settings(deadline=None, max_examples=40)
@given(length=st.integers(0, 600), reverse=st.booleans(), seed=st.integers(0, 999))
def test_scan_equals_the_loop(length, reverse, seed):
    generator = torch.Generator().manual_seed(seed)
    a = 0.9 * torch.randn(length, 2, dtype=torch.float64, generator=generator)
    b = torch.randn(length, 2, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(
        linear_scan(a, b, reverse=reverse), scan_in_order(a, b, reverse), rtol=1e-9, atol=1e-9
    )


def scan_in_order(a: Tensor, b: Tensor, reverse: bool) -> Tensor:
    y = torch.zeros_like(b)
    before = torch.zeros_like(b[:1].sum(0))
    for t in reversed(range(len(b))) if reverse else range(len(b)):
        before = y[t] = a[t] * before + b[t]
    return y


@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_of_the_scan(reverse):
    a, b = (torch.randn(35, 1, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def run(a: Tensor, b: Tensor) -> Tensor:
        return linear_scan(a, b, reverse=reverse)

    assert torch.autograd.gradcheck(run, (a, b))
    assert torch.autograd.gradgradcheck(run, (a, b))


def test_factors_whose_product_overflows_do_no_harm():
    # They grow beyond float32 where there is nothing for them to multiply.
    a, b = torch.full((100, 1), 0.5), torch.zeros(100, 1)
    a[39], a[40:75], b[3], b[80] = 0.0, 1e3, 1.0, 1.0
    expected = scan_in_order(a, b, False)
    assert expected.isfinite().all()
    assert not a[48:64].prod().isfinite()
    torch.testing.assert_close(linear_scan(a, b), expected)


def test_compiles_into_one_graph_for_any_length():
    options = LengthParallel(chunk=4, max_iterations=NO_LIMIT)

    def run(u: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        return sru_recurrence(u, v, bias, length_parallel=options)[0]

    compiled = torch.compile(run, fullgraph=True, dynamic=True, backend="aot_eager")
    for length in (21, 34):
        inputs = make_inputs(length)
        given = [inputs[name].requires_grad_() for name in ("u", "v", "bias")]
        expected, actual = run(*given), compiled(*given)
        torch.testing.assert_close(actual, expected)
        gradients = [torch.autograd.grad(h.sum(), given) for h in (actual, expected)]
        torch.testing.assert_close(*gradients)


def test_no_warning_when_all_converge():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        h, _ = sru_recurrence(**make_inputs(600, scale_v=0.3), length_parallel=True)
    assert h.isfinite().all()
