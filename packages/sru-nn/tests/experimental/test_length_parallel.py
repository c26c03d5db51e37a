"""The length-parallel recurrence against the loop: outputs, every gradient, and what does not converge."""

from __future__ import annotations

import copy
import importlib
import math
import re
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sru_nn import SRU, SRUCell, reference
from sru_nn.experimental.length_parallel import LengthParallel, solve
from sru_nn.functional import sru_recurrence

from ..conftest import examples, looks_at_grad

NO_LIMIT = math.inf


def make_inputs(
    length: int,
    batch: int = 2,
    size: int = 3,
    *,
    per_position: bool = False,
    padded: bool = False,
    scale_v: float = 1.0,
    seed: int = 0,
) -> list[Tensor]:
    """Return what `sru_states` takes: u_c, u_f, v_f and c0."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    u_c, u_f = randn(length, batch, size), randn(length, batch, size)
    v_f = scale_v * randn(*((length, batch) if per_position else ()), size)
    if padded:
        u_f[torch.rand(length, batch, generator=generator) < 0.3] = torch.inf
    return [u_c, u_f, v_f, randn(batch, size)]


def states_and_gradients(states, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    results = states(*leaves)
    generator = torch.Generator().manual_seed(1)
    upstream = [torch.randn(r.shape, generator=generator, dtype=r.dtype) for r in results]
    # With no steps, nothing depends on u_f or v_f.
    gradients = torch.autograd.grad(results, leaves, upstream, allow_unused=True, materialize_grads=True)
    return [*results, *gradients]


@settings(examples, max_examples=60)
@given(
    length=st.integers(0, 70),
    chunk=st.integers(1, 20),
    batch=st.integers(0, 3),
    per_position=st.booleans(),
    padded=st.booleans(),
    seed=st.integers(0, 999),
)
def test_equals_the_loop(length, chunk, batch, per_position, padded, seed):
    # Keep v small: if rounding errors grow from step to step, two computations cannot be compared.
    inputs = make_inputs(length, batch, per_position=per_position, padded=padded, scale_v=0.3, seed=seed)
    options = LengthParallel(chunk=chunk, max_iterations=NO_LIMIT)
    actual = states_and_gradients(options.states, inputs)
    expected = states_and_gradients(reference.sru_states, inputs)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("per_position", [False, True])
def test_first_and_second_derivatives(per_position):
    leaves = [tensor.requires_grad_() for tensor in make_inputs(7, 2, 1, per_position=per_position)]

    def run(*leaves: Tensor) -> Tensor:
        return LengthParallel(chunk=2, max_iterations=NO_LIMIT).states(*leaves)[1]

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


@settings(examples, max_examples=40)
@given(
    scale_v=st.sampled_from([1.0, 10.0, 100.0, 1e6]),
    scale_gate=st.sampled_from([0.01, 1.0, 30.0, 1e4]),
    chunk=st.integers(1, 30),
    seed=st.integers(0, 999),
)
def test_hard_weights_obey_the_recurrence(scale_v, scale_gate, chunk, seed):
    """Saturated gates, switches and chaos: each step follows from the state before it."""
    u_c, u_f, v_f, c0 = make_inputs(90, scale_v=scale_v, seed=seed)
    u_f *= scale_gate
    options = LengthParallel(chunk=chunk, tolerance=0.0, max_iterations=NO_LIMIT)
    solution = solve(u_c, u_f, v_f, c0, options)
    assert solution.failed == 0
    before = torch.cat([c0[None], solution.c])[:-1]
    # A steep gate amplifies rounding differences in u_f + v_f ⊙ c; allow for the difference of two formulas.
    one, two = (torch.sigmoid(u_f + v_f * before), torch.sigmoid(torch.addcmul(u_f, v_f, before)))
    exact, other = (f * before + (1 - f) * u_c for f in (one, two))
    assert ((solution.c - exact).abs() <= 4 * (exact - other).abs() + 1e-13).all()


@pytest.mark.parametrize(("chunk", "fewest", "most"), [(128, 1, 3), (1, 4, 16)])
def test_it_takes_few_iterations_where_states_forget(chunk, fewest, most):
    inputs = make_inputs(4096, 1, 16, scale_v=0.3)
    solution = solve(*(tensor.float() for tensor in inputs), LengthParallel(chunk=chunk))
    assert solution.failed == 0
    assert fewest <= solution.iterations <= most


def test_what_does_not_converge_is_looped_with_a_warning():
    inputs, options = make_inputs(300, 1, 8, scale_v=8.0), LengthParallel(chunk=4, max_iterations=2)
    solution = solve(*inputs, options)
    assert 0 < solution.failed <= 8
    message = f"{solution.failed} of 8 states did not converge in {solution.iterations} length-parallel"
    with pytest.warns(
        RuntimeWarning, match=f"^sru_recurrence: {message}.* 300 steps were computed sequentially"
    ):
        actual = options.states(*inputs)
    # No chaotic state was iterated, so even these weights allow a comparison.
    torch.testing.assert_close(actual, reference.sru_states(*inputs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("position", [0, 1])
def test_input_that_is_not_finite_comes_through_as_in_the_loop(bad, position):
    inputs, options = make_inputs(100, 2, 2), LengthParallel(chunk=8, max_iterations=NO_LIMIT)
    inputs[position][37, 1, 0] = bad
    actual, expected = options.states(*inputs), reference.sru_states(*inputs)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10, equal_nan=True)


WRONG = {
    "chunk": ({"chunk": 0}, "chunk must be at least 1, got 0"),
    "tolerance": ({"tolerance": math.nan}, "tolerance must be at least 0, got nan"),
    "max_iterations": ({"max_iterations": 0}, "max_iterations must be at least 1, got 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options(case):
    options, message = WRONG[case]
    with pytest.raises(ValueError, match="^LengthParallel: " + re.escape(message)):
        LengthParallel(**options)


def test_wrong_type_of_the_argument():
    with pytest.raises(TypeError, match="length_parallel must be a bool or a LengthParallel, got int"):
        sru_recurrence(torch.zeros(4, 1, 3, 2), torch.zeros(2, 2), torch.zeros(2, 2), length_parallel=64)


@pytest.mark.parametrize("make", [SRU, SRUCell])
@pytest.mark.parametrize("option", [True, LengthParallel(chunk=8)])
def test_the_argument_of_the_modules_works_and_warns(make, option):
    plain, parallel = make(5, 4).double(), make(5, 4, length_parallel=option).double()
    parallel.load_state_dict(plain.state_dict())
    x = torch.randn(300, 2, 5, dtype=torch.float64)
    with pytest.warns(FutureWarning, match=r"experimental .*: sru_nn\.experimental\.length_parallel"):
        actual = copy.deepcopy(parallel)(x)
    torch.testing.assert_close(actual, plain(x), rtol=1e-9, atol=1e-9)
    assert not torch.equal(actual[0], plain(x)[0])  # computed in another way


def test_the_old_import_warns():
    sys.modules.pop("sru_nn.length_parallel", None)
    with pytest.warns(FutureWarning, match=r"has moved to sru_nn\.experimental\.length_parallel"):
        assert importlib.import_module("sru_nn.length_parallel").LengthParallel is LengthParallel


@looks_at_grad
def test_opcheck():
    given = (tensor.requires_grad_() for tensor in make_inputs(12))
    torch.library.opcheck(torch.ops.sru_nn.sru_states, (*given, 3, None, 16.0))


@pytest.mark.compile
def test_compiles_into_one_graph_for_any_length():
    options = LengthParallel(chunk=4, max_iterations=NO_LIMIT)

    def run(u: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        return sru_recurrence(u, v, bias, length_parallel=options)[0]

    compiled = torch.compile(run, fullgraph=True, dynamic=True, backend="aot_eager")
    for length in (21, 34):
        shapes = [(length, 2, 3, 4), (2, 4), (2, 4)]
        given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
        expected, actual = reference.sru_recurrence(*given, states=options.states)[0], compiled(*given)
        torch.testing.assert_close(actual, expected)
        gradients = [torch.autograd.grad(h.sum(), given) for h in (actual, expected)]
        torch.testing.assert_close(*gradients)
