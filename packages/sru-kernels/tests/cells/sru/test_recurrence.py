"""The SRU recurrence on every engine, against the NumPy oracle over the option matrix."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from ...support.engines import BUT_FOR_RACES, cpu_engine
from .cases import make_sru
from .oracle import PAD, oracle_backward, oracle_forward

# Tolerances by storage dtype. States and gradients of v, bias and c0 are never stored in S.
STORED = {
    "float64": (1e-12, 1e-12),
    "float32": (1e-5, 1e-5),
    "float16": (2.0**-10, 1e-5),
    "bfloat16": (2.0**-7, 1e-5),
}
ACCUMULATED = {"float64": (1e-12, 1e-12)}
OPTIONAL = ("c0", "x", "mask_c", "marks", "c_reset", "grad_h", "grad_c_last")
# Shorter and longer than the prefetch distance; one column, an odd number, and a multiple of all widths.
SIZES = [(1, 1, 1), (1, 4, 33), (2, 1, 16), (4, 2, 64), (3, 3, 3), (7, 5, 31), (19, 2, 8)]


def assert_parity(engine, case):
    exact = case.rounded()
    h, c, c_last = oracle_forward(exact)
    got = case.forward(engine)
    assert_all_close(got, {"h": h, "c": c, "c_last": c_last}, case.storage)
    assert_all_close(case.backward(got["c"], engine), oracle_backward(exact), case.storage)


def assert_all_close(got, expected, storage):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        rtol, atol = (
            STORED[storage] if name in ("h", "grad_u", "grad_x") else ACCUMULATED.get(storage, (1e-5, 1e-5))
        )
        np.testing.assert_allclose(got[name], value, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("engine_name", BUT_FOR_RACES)
@pytest.mark.parametrize("storage", STORED)
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
@pytest.mark.parametrize(("num_gates", "absent"), [(3, ()), (3, ("x",)), (4, ())])
@pytest.mark.parametrize("hidden_size", [17, 24])
def test_parity_of_every_compiled_loop(engine, hidden_size, num_gates, absent, activation, storage):
    given = make_sru(
        batch=2,
        hidden_size=hidden_size,
        num_gates=num_gates,
        absent=absent,
        activation=activation,
        storage=storage,
        num_directions=2,
        scale_x=1.7,
    )
    assert_parity(engine, given)


@pytest.mark.parametrize("num_directions", [1, 2])
@pytest.mark.parametrize("v_per_position", [False, True])
@pytest.mark.parametrize("absent", [(), *itertools.combinations(OPTIONAL, 1), OPTIONAL])
def test_parity_with_absent_inputs(engine, absent, v_per_position, num_directions):
    given = make_sru(
        v_per_position=v_per_position, num_directions=num_directions, absent=absent, storage="float64"
    )
    assert_parity(engine, given)


@pytest.mark.parametrize("num_directions", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_parity_of_odd_sizes(engine, size, num_directions):
    assert_parity(engine, make_sru(*size, num_directions=num_directions))


@pytest.mark.parametrize("engine_name", ["cpu"])
def test_parity_of_rows_wider_than_a_tile(engine):
    assert_parity(engine, make_sru(2, 2, 2500, num_directions=2, storage="float64"))


@pytest.mark.parametrize("storage", STORED)
@pytest.mark.parametrize("num_threads", [2, 3])
@pytest.mark.parametrize("size", [(33, 4, 257), (3000, 1, 17), (20, 700, 3)])
def test_results_do_not_depend_on_the_number_of_threads(size, num_threads, storage):
    given = make_sru(*size, num_directions=2, activation="tanh", storage=storage)
    alone = given.forward()
    several = given.forward(cpu_engine(num_threads))
    alone |= given.backward(alone["c"])
    several |= given.backward(alone["c"], cpu_engine(num_threads))
    for name, value in alone.items():
        np.testing.assert_array_equal(several[name], value, err_msg=name)


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("absent", [(), ("c0", "grad_c_last")])
def test_parity_of_the_shortest_sequences(engine, length, absent):
    assert_parity(engine, make_sru(length, absent=absent, num_directions=2))


@pytest.mark.parametrize("num_directions", [1, 2])
@pytest.mark.parametrize("size", [(5, 0, 17), (5, 3, 0), (0, 3, 0), (0, 0, 0)])
def test_parity_of_empty_arrays(engine, size, num_directions):
    assert_parity(engine, make_sru(*size, num_directions=num_directions))


@pytest.mark.parametrize("num_directions", [1, 2])
def test_results_do_not_depend_on_saving_states(engine, num_directions):
    given = make_sru(num_directions=num_directions)
    kept, dropped = given.forward(engine), given.forward(engine, keep_states=False)
    for name in ("h", "c_last"):
        np.testing.assert_array_equal(kept[name], dropped[name])


@pytest.mark.parametrize("name", ["grad_x", "grad_c_reset"])
def test_gradients_do_not_depend_on_which_are_computed(engine, name):
    given = make_sru()
    c = given.forward(engine)["c"]
    wanted, others = given.backward(c, engine), given.backward(c, engine, without=(name,))
    assert others.keys() == wanted.keys() - {name}
    for other, value in others.items():
        np.testing.assert_array_equal(value, wanted[other])


@pytest.mark.parametrize("num_directions", [1, 2])
@pytest.mark.parametrize("num_gates", [3, 4])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_values_at_padding_have_no_effect(engine, poison, num_gates, num_directions):
    clean = make_sru(8, num_gates=num_gates, num_directions=num_directions, v_per_position=True)
    pad = clean.marks & PAD != 0
    assert pad.any()
    assert not pad.all()
    dirty = {name: getattr(clean, name).copy() for name in ("u", "v", "grad_h")}
    if clean.x is not None:
        dirty["x"] = clean.x.copy()
    for array in dirty.values():
        array[pad] = poison
    poisoned = replace(clean, **dirty)
    expected, got = clean.forward(engine), poisoned.forward(engine)
    grads, got_grads = (given.backward(expected["c"], engine) for given in (clean, poisoned))
    for name, value in {**expected, **grads}.items():
        np.testing.assert_array_equal({**got, **got_grads}[name], value)
    assert not got["h"][pad].any()
    for name in ("grad_u", "grad_v", *(["grad_x"] if clean.x is not None else [])):
        assert not got_grads[name][pad].any()


def test_nan_does_not_spread_to_other_columns(engine):
    clean = make_sru(absent=("marks",), activation="tanh")
    u = clean.u.copy()
    u[2, 1, 1, 4] = np.nan
    got, expected = replace(clean, u=u).forward(engine), clean.forward(engine)
    touched = np.zeros(expected["h"].shape, bool)
    touched[2:, 1, 4] = True
    np.testing.assert_array_equal(np.isnan(got["h"]), touched)
    np.testing.assert_array_equal(got["h"][~touched], expected["h"][~touched])


@pytest.mark.parametrize("storage", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
@pytest.mark.parametrize("size", [1e4, np.inf])
def test_saturated_gates_are_exact_and_have_zero_slope(engine, size, activation, storage):
    given = make_sru(4, absent=("marks", "mask_c"), activation=activation, storage=storage)
    u = given.u.copy()
    u[:, :, 1] = size  # f = 1: the state never changes
    u[:, :, 2] = -size  # r = 0: the output is the highway
    saturated = replace(given, u=u)
    got = saturated.forward(engine)
    exact = saturated.rounded()
    np.testing.assert_array_equal(got["c"], np.broadcast_to(exact.c0, got["c"].shape))
    np.testing.assert_array_equal(got["h"], exact.x)
    grads = saturated.backward(got["c"], engine)
    assert not grads["grad_u"].any()
    assert not grads["grad_v"].any()
    np.testing.assert_array_equal(grads["grad_x"], exact.grad_h)
    np.testing.assert_array_equal(grads["grad_c0"], exact.grad_c_last)


def test_very_large_inputs_stay_finite(engine):
    given = make_sru(num_gates=4, activation="tanh", storage="float64")
    signs = np.where(given.u > 0, 1e4, -1e4)
    assert_parity(engine, replace(given, u=signs))
