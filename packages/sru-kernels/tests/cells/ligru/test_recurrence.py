"""The Li-GRU recurrence against the NumPy oracle, and the oracle's gradients against complex steps."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from sru_kernels import cpu

from ...support.engines import cpu_engine
from ..sru.test_recurrence import STORED
from .cases import make_ligru
from .oracle import oracle_backward, oracle_forward

ACTIVATIONS = ["relu", "tanh", "sin", "leaky_relu"]
OPTIONAL = ("mask_h", "marks", "h0", "h_reset", "grad_h", "grad_h_last")
OF_NORM = ("norm_weight", "norm_bias")
# T, B and D: one unit, odd numbers, the vector size of each instruction set and one more, several panels;
# rows that fill no tile, one and several.
SIZES = [(1, 1, 1), (3, 1, 7), (2, 5, 8), (4, 2, 33), (3, 13, 16), (2, 4, 64), (3, 7, 70), (2, 30, 17)]
NORM = pytest.mark.parametrize("norm", [False, True])
DIRECTIONS = pytest.mark.parametrize("num_directions", [1, 2])


def assert_parity(case, engine=None):
    in_pairs = engine is None and case.storage == "bfloat16" and cpu.instruction_set() == "avx512_bf16"
    exact = replace(case.rounded(), rounds_terms=in_pairs)
    assert_all_close(case.both(engine), {**oracle_forward(exact), **oracle_backward(exact)}, exact)


def assert_all_close(got, expected, case):
    assert got.keys() == expected.keys()
    real = ~case.padding()
    for name, value in expected.items():
        in_storage = case.storage == "float64" or name == "h"
        rtol, atol = STORED[case.storage if in_storage else "float32"]
        kept = real if name in ("products", "rstd") else ...
        if case.rounds_terms:  # a few terms next to a tie are rounded to the other side
            close = np.isclose(got[name][kept], value[kept], rtol=rtol, atol=atol)
            assert close.size == 0 or close.mean() > 0.95, name
            rtol, atol = STORED["bfloat16"]
        np.testing.assert_allclose(got[name][kept], value[kept], rtol=rtol, atol=atol, err_msg=name)


def assert_same_bits(got, expected, case):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        kept = ~case.padding() if name in ("products", "rstd") else ...
        np.testing.assert_array_equal(got[name][kept], value[kept], err_msg=name)


@NORM
@pytest.mark.parametrize("storage", STORED)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden_size", [17, 32])
def test_parity_of_every_compiled_loop(hidden_size, activation, storage, norm):
    assert_parity(make_ligru(5, 3, hidden_size, activation=activation, storage=storage, norm=norm))


@NORM
@DIRECTIONS
@pytest.mark.parametrize("size", SIZES)
def test_parity_of_odd_sizes(size, num_directions, norm):
    assert_parity(make_ligru(*size, num_directions=num_directions, norm=norm, storage="float64"))
    assert_parity(make_ligru(*size, num_directions=num_directions, norm=norm, activation="tanh"))
    assert_parity(make_ligru(*size, num_directions=num_directions, norm=norm, storage="bfloat16"))


@DIRECTIONS
@pytest.mark.parametrize("absent", [(), *itertools.combinations(OPTIONAL, 1), OPTIONAL])
def test_parity_with_absent_inputs(absent, num_directions):
    assert_parity(make_ligru(absent=absent, num_directions=num_directions, storage="float64"))


@pytest.mark.parametrize("absent", [*itertools.combinations(OF_NORM, 1), OF_NORM])
def test_parity_of_a_norm_without_parameters(absent):
    assert_parity(make_ligru(absent=absent, norm=True, storage="float64"))


@NORM
@pytest.mark.parametrize("size", [(0, 3, 5), (5, 0, 5), (5, 3, 0), (0, 0, 0)])
def test_parity_of_empty_arrays(size, norm):
    assert_parity(make_ligru(*size, norm=norm))


@NORM
@DIRECTIONS
@pytest.mark.parametrize("name", ["u", "weight", "h0", "h_reset", *OF_NORM])
def test_oracle_gradients_match_complex_steps(name, num_directions, norm):
    """Including the gradients that a caller computes from the kernel's."""
    case = make_ligru(4, 2, 2, num_directions=num_directions, norm=norm, activation="tanh", storage="float64")
    if (given := getattr(case, name)) is None:
        pytest.skip("without a norm")

    def slope(index):
        perturbed = given.astype(complex)
        perturbed[index] += 1e-100j
        found = oracle_forward(replace(case, **{name: perturbed}))
        return ((found["h"] * case.grad_h).sum() + (found["h_last"] * case.grad_h_last).sum()).imag / 1e-100

    slopes = np.array([slope(index) for index in np.ndindex(given.shape)]).reshape(given.shape)
    forward, grads = oracle_forward(case), oracle_backward(case)
    sums, before = grads["grad_sums"], case.states_before(forward["states"])
    products = np.where(case.padding()[..., None, None, None], 0, forward["products"])
    found = {
        "u": sums.sum(2),
        "weight": np.einsum("tbngd,tbnk->gdk", grads.get("grad_products", sums), before),
        "h0": grads["grad_h0"],
        "h_reset": grads["grad_h_reset"].sum(0),
        "norm_weight": (sums * products).sum((0, 1, 2)),
        "norm_bias": sums.sum((0, 1, 2)),
    }
    np.testing.assert_allclose(found[name], slopes, rtol=1e-12, atol=1e-12)


@NORM
@pytest.mark.parametrize("storage", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("num_threads", [2, 3, 7])  # with more threads than panels, rows are divided too
@pytest.mark.parametrize("size", [(3, 5, 200), (4, 40, 65)])  # large enough for a second thread
def test_results_do_not_depend_on_the_number_of_threads(size, num_threads, storage, norm):
    case = make_ligru(*size, storage=storage, norm=norm)
    assert_same_bits(case.both(cpu_engine(num_threads)), case.both(), case)


@NORM
@pytest.mark.parametrize("storage", ["float32", "float64", "bfloat16"])
def test_results_do_not_depend_on_the_rest_of_the_batch(storage, norm):
    case = make_ligru(5, 15, 40, storage=storage, norm=norm)
    together = case.both()
    for row in (0, 7, 14):
        over_time = {name: getattr(case, name)[:, row : row + 1] for name in ("u", "marks", "grad_h")}
        states = {name: getattr(case, name)[row : row + 1] for name in ("h0", "mask_h", "grad_h_last")}
        alone = replace(case, **over_time, **states)
        of_row = {
            name: array[row : row + 1]
            if name in ("h_last", "grad_h0", "grad_h_reset")
            else array[:, row : row + 1]
            for name, array in together.items()
        }
        assert_same_bits(alone.both(), of_row, alone)


@NORM
def test_results_do_not_depend_on_saving(norm):
    case = make_ligru(norm=norm)
    kept = case.forward()
    for without in [("states",), ("products",), ("states", "products", "rstd")]:
        dropped = case.forward(without=without)
        for name in ("h", "h_last"):
            np.testing.assert_array_equal(dropped[name], kept[name])


@NORM
def test_gradients_may_overwrite_the_products(norm):
    case = make_ligru(5, 3, 40, norm=norm)
    forward = case.forward()
    saved = {name: forward[name] for name in ("products", "rstd") if name in forward}
    saved["before"] = case.rounded().states_before(forward["states"])
    expected = case.backward(saved)

    def in_place(kernel, fields, inputs, outputs, options):
        name = "grad_products" if norm else "grad_sums"
        outputs[name][...] = inputs["products"]
        cpu_engine()(kernel, fields, {**inputs, "products": outputs[name]}, outputs, options)

    assert_same_bits(case.backward(saved, in_place), expected, case)


@NORM
@DIRECTIONS
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_values_at_padding_have_no_effect(poison, num_directions, norm):
    clean = make_ligru(8, norm=norm, num_directions=num_directions)
    pad = clean.padding()
    assert pad.any()
    assert not pad.all()
    dirty = {name: getattr(clean, name).copy() for name in ("u", "grad_h")}
    for array in dirty.values():
        array[pad] = poison
    got = replace(clean, **dirty).both()
    assert_same_bits(got, clean.both(), clean)
    for name in ("h", "grad_sums"):
        assert not got[name][pad].any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_numbers_do_not_spread_to_other_rows(value):
    clean = make_ligru(6, 3, 20, activation="tanh", absent=("marks",))
    u = clean.u.copy()
    u[2, 1, 0, 3] = value
    got, expected = replace(clean, u=u).both(), clean.both()
    for name, array in expected.items():
        rows = np.moveaxis(got[name], 0 if array.shape[0] == 3 else 1, 0)
        wanted = np.moveaxis(array, 0 if array.shape[0] == 3 else 1, 0)
        for row in (0, 2):
            np.testing.assert_array_equal(rows[row], wanted[row], err_msg=name)
    assert np.isnan(got["h"][2:, 1]).any() == np.isnan(value)


@pytest.mark.parametrize("storage", ["float32", "float64", "bfloat16"])
def test_a_saturated_gate_is_exact_and_has_zero_slope(storage):
    case = make_ligru(4, absent=("marks",), storage=storage)
    u = case.u.copy()
    u[:, :, 1] = np.inf  # z = 1: the state never changes
    got = replace(case, u=u).both()
    np.testing.assert_array_equal(got["states"], np.broadcast_to(case.rounded().h0, got["states"].shape))
    assert not got["grad_sums"].any()
