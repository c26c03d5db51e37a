"""The gated linear recurrence against the NumPy oracle, and the oracle's gradients against complex steps."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from sru_kernels import cpu

from ...support.invoke import arguments
from .cases import make_gated_linear, oracle_backward, oracle_forward

# Allowed errors, relative to the sum of the magnitudes of the terms. States are never stored in S.
STORED = {"float64": 1e-13, "float32": 2e-6, "float16": 2.0**-10, "bfloat16": 2.0**-7}
ACCUMULATED = {"float64": 1e-13}
STORAGES = list(STORED)
IN_STORAGE = ("o", "grad_q", "grad_k", "grad_v")
OPTIONAL = ("s0", "grad_o", "grad_s")
# Absolute errors that are always allowed: subnormal gates are flushed to 0, and float16 is coarse near 0.
FLOOR = {"float64": 1e-300, "float32": 1e-35, "float16": 1e-35, "bfloat16": 1e-35}
HALF_SPACING = 2.0**-24
# Zero, one and odd sizes; the vector size of each instruction set, and one more; several tiles and blocks.
SIZES = [
    (0, 0),
    (0, 5),
    (5, 0),
    (1, 1),
    (1, 5),
    (3, 1),
    (5, 7),
    (16, 16),
    (17, 33),
    (32, 64),
    (33, 65),
    (70, 150),
    (150, 20),
]


def assert_parity(case, engine=None):
    exact = case.rounded()
    terms = exact.magnitudes()
    got = case.forward(engine)
    assert_all_close(got, oracle_forward(exact), oracle_forward(terms), case.storage)
    grads = case.backward(got["starts"], engine)
    assert_all_close(grads, oracle_backward(exact), oracle_backward(terms), case.storage)


def assert_all_close(got, expected, terms, storage):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = STORED[storage] if name in IN_STORAGE else ACCUMULATED.get(storage, 2e-6)
        floor = HALF_SPACING if storage == "float16" and name in IN_STORAGE else FLOOR[storage]
        excess = np.abs(got[name] - value) - tolerance * terms[name] - floor
        assert (excess <= 0).all(), (name, excess.max())


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("size", SIZES)
def test_parity_of_odd_sizes(size, storage):
    assert_parity(make_gated_linear(9, 2, 1, *size, storage=storage))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    "absent", [*itertools.chain(*(itertools.combinations(OPTIONAL, n) for n in range(4)))]
)
def test_parity_with_absent_inputs(absent, storage):
    assert_parity(make_gated_linear(absent=absent, storage=storage))


@pytest.mark.parametrize("length", [0, 1, 2, 7, 8, 9])
@pytest.mark.parametrize("segment_length", [1, 4, 8, 100, 2**63 - 1])
def test_parity_with_any_segment_length(segment_length, length):
    assert_parity(make_gated_linear(length, segment_length=segment_length, storage="float64"))


# No states, and more than are processed together.
@pytest.mark.parametrize(("batch", "heads"), [(0, 3), (3, 0), (1, 1), (1, 5), (50, 3)])
def test_parity_of_any_number_of_states(batch, heads):
    assert_parity(make_gated_linear(5, batch, heads, storage="float64"))


@pytest.mark.parametrize("name", ["q", "k", "v", "log_g", "s0"])
def test_oracle_gradients_match_complex_steps(name):
    case = make_gated_linear(4, 1, 2, 3, 2, storage="float64")
    given = getattr(case, name)

    def slope(index):
        perturbed = given.astype(complex)
        perturbed[index] += 1e-100j
        found = oracle_forward(replace(case, **{name: perturbed}))
        return ((found["o"] * case.grad_o).sum() + (found["s"] * case.grad_s).sum()).imag / 1e-100

    slopes = np.array([slope(index) for index in np.ndindex(given.shape)]).reshape(given.shape)
    np.testing.assert_allclose(oracle_backward(case)[f"grad_{name}"], slopes, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("num_threads", [2, 3, 4])
@pytest.mark.parametrize("size", [(20, 1, 1, 100, 150), (30, 3, 1, 70, 90), (20, 5, 3, 33, 65)])
def test_results_do_not_depend_on_the_number_of_threads(size, num_threads, storage):
    case = make_gated_linear(*size, storage=storage)  # large enough for a second thread
    got = case.both(num_threads=num_threads)
    for name, value in case.both().items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


@pytest.mark.parametrize("storage", STORAGES)
def test_results_do_not_depend_on_the_rest_of_the_batch(storage):
    case = make_gated_linear(10, 4, 2, 40, 70, storage=storage)
    names = ("q", "k", "v", "log_g", "grad_o")
    row = {name: getattr(case, name)[:, 2:3] for name in names}
    alone = replace(case, **row, s0=case.s0[2:3], grad_s=case.grad_s[2:3])
    together = case.both()
    for name, value in alone.both().items():
        batch = 0 if name in ("s", "grad_s0") else 1
        np.testing.assert_array_equal(value, together[name].take([2], axis=batch), err_msg=name)


@pytest.mark.parametrize("storage", STORAGES)
def test_results_do_not_depend_on_saving_states(storage):
    case = make_gated_linear(storage=storage)
    kept, dropped = case.forward(), case.forward(keep_states=False)
    for name in ("o", "s"):
        np.testing.assert_array_equal(kept[name], dropped[name])


def test_chunks_with_the_state_carried_equal_the_whole():
    case = make_gated_linear(9)
    whole = case.forward()
    first, second = (
        replace(case, **{name: getattr(case, name)[part] for name in ("q", "k", "v", "log_g", "grad_o")})
        for part in (slice(6), slice(6, None))
    )
    state = first.forward()
    rest = replace(second, s0=state["s"]).forward()
    np.testing.assert_array_equal(np.concatenate([state["o"], rest["o"]]), whole["o"])
    np.testing.assert_array_equal(rest["s"], whole["s"])


@pytest.mark.parametrize("storage", ["float32", "float64"])
def test_a_closed_gate_forgets_all_and_an_open_gate_nothing(storage):
    case = make_gated_linear(1, storage=storage)
    shut = replace(case, log_g=np.full_like(case.log_g, -np.inf))
    unlike = replace(shut, s0=1e30 * case.s0)
    for name in ("o", "s"):
        np.testing.assert_array_equal(shut.forward()[name], unlike.forward()[name])
    grads = shut.backward(shut.forward()["starts"])
    assert not grads["grad_log_g"].any()
    assert not grads["grad_s0"].any()
    kept = replace(case, log_g=np.zeros_like(case.log_g), k=np.zeros_like(case.k))
    np.testing.assert_array_equal(kept.forward()["s"], kept.rounded().s0)


def test_parity_with_very_small_gates():
    case = make_gated_linear(9, storage="float64")
    smallest = -np.geomspace(1e-3, 1e5, case.log_g.size).reshape(case.log_g.shape)
    assert_parity(replace(case, log_g=smallest))


def test_nan_does_not_spread_to_other_states():
    clean = make_gated_linear(9, 3, 2, 20, 40)
    q, k = clean.q.copy(), clean.k.copy()
    k[4, 1, 0, 3] = np.nan
    q[4, 1, 0, 3] = np.nan
    results = replace(clean, q=q, k=k).both()
    for name, value in clean.both().items():
        axes = (0, 1) if name in ("s", "grad_s0") else (1, 2)  # batch and heads
        got, expected = (np.moveaxis(array, axes, (0, 1)) for array in (results[name], value))
        assert np.isnan(got[1, 0]).any()
        for state in set(np.ndindex(3, 2)) - {(1, 0)}:
            np.testing.assert_array_equal(got[state], expected[state])


def test_final_states_may_overwrite_initial_ones():
    case = make_gated_linear()
    expected = case.both()
    names = ("q", "k", "v", "log_g", "s0", "grad_o", "grad_s")
    arrays = {name: getattr(case, name).astype(np.float32) for name in names}
    outputs = ("o", "starts", "grad_q", "grad_k", "grad_v", "grad_log_g")
    arrays |= {name: np.empty(expected[name].shape, np.float32) for name in outputs}
    address = {name: array.ctypes.data for name, array in arrays.items()}
    fields = {"dtype": "float32", **case.options()}
    states = {"s": address["s0"], "grad_s0": address["grad_s"]}
    forward = {name: (address | states)[name] for name in ("q", "k", "v", "log_g", "s0", "o", "s", "starts")}
    cpu.gated_linear_forward(arguments("gated_linear_forward", fields, forward), num_threads=1)
    np.testing.assert_array_equal(arrays["s0"], expected["s"])
    np.testing.assert_array_equal(arrays["starts"], expected["starts"])
    backward = {name: at for name, at in (address | states).items() if name not in ("s0", "o", "s")}
    cpu.gated_linear_backward(arguments("gated_linear_backward", fields, backward), num_threads=1)
    np.testing.assert_array_equal(arrays["grad_s"], expected["grad_s0"])
