"""The kernels, on every engine, against the NumPy oracle over the option matrix."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

# What storage in each dtype may cost. States and gradients of v, bias and c0 never pass through storage.
STORED = {
    "float64": (1e-12, 1e-12),
    "float32": (1e-5, 1e-5),
    "float16": (2.0**-10, 1e-5),
    "bfloat16": (2.0**-7, 1e-5),
}
ACCUMULATED = {"float64": (1e-12, 1e-12)}
OPTIONAL = ("c0", "x", "mask_c", "mask_pad", "grad_h", "grad_c_last")
# Shorter than the loads run ahead, and longer; of one column, an odd number, and a multiple of all widths.
SIZES = [(1, 1, 1), (1, 4, 33), (2, 1, 16), (4, 2, 64), (3, 3, 3), (7, 5, 31), (19, 2, 8)]


def assert_parity(kernels, oracle, case):
    forward, backward = oracle
    exact = case.rounded()
    h, c, c_last = forward(exact)
    got = kernels.forward(case)
    expected = {"h": h, "c": c, "c_last": c_last}
    assert_all_close(got, expected, case.storage, stored=("h",))
    grads = kernels.backward(case, got["c"])
    assert_all_close(grads, backward(exact), case.storage, stored=("grad_u", "grad_x"))


def assert_all_close(got, expected, storage, stored):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        rtol, atol = STORED[storage] if name in stored else ACCUMULATED.get(storage, (1e-5, 1e-5))
        np.testing.assert_allclose(got[name], value, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("storage", STORED)
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
@pytest.mark.parametrize(("num_gates", "absent"), [(3, ()), (3, ("x",)), (4, ())])
@pytest.mark.parametrize("hidden_size", [17, 24])
def test_parity_of_every_compiled_loop(
    kernels, oracle, case, hidden_size, num_gates, absent, activation, storage
):
    given = case(
        batch=2,
        hidden_size=hidden_size,
        num_gates=num_gates,
        absent=absent,
        activation=activation,
        storage=storage,
        num_directions=2,
        scale_x=1.7,
    )
    assert_parity(kernels, oracle, given)


@pytest.mark.parametrize("num_directions", [1, 2])
@pytest.mark.parametrize("v_per_position", [False, True])
@pytest.mark.parametrize("absent", [(), *itertools.combinations(OPTIONAL, 1), OPTIONAL])
def test_parity_with_absent_inputs(kernels, oracle, case, absent, v_per_position, num_directions):
    given = case(
        v_per_position=v_per_position, num_directions=num_directions, absent=absent, storage="float64"
    )
    assert_parity(kernels, oracle, given)


@pytest.mark.parametrize("num_directions", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_parity_of_odd_sizes(kernels, oracle, case, size, num_directions):
    assert_parity(kernels, oracle, case(*size, num_directions=num_directions))


@pytest.mark.parametrize("engine_name", ["cpu"])
def test_parity_of_rows_wider_than_a_tile(kernels, oracle, case):
    assert_parity(kernels, oracle, case(2, 2, 2500, num_directions=2, storage="float64"))


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("absent", [(), ("c0", "grad_c_last")])
def test_shortest_sequences(kernels, oracle, case, length, absent):
    assert_parity(kernels, oracle, case(length, absent=absent, num_directions=2))


def test_empty_batch(kernels, case):
    given = case(batch=0)
    assert kernels.forward(given)["h"].shape == (5, 0, 17)
    assert kernels.backward(given, np.zeros((5, 0, 17)))["grad_u"].shape == (5, 0, 3, 17)


@pytest.mark.parametrize("num_directions", [1, 2])
def test_inference_without_saved_states_gives_the_same_bits(kernels, case, num_directions):
    given = case(num_directions=num_directions)
    kept, dropped = kernels.forward(given), kernels.forward(given, keep_states=False)
    for name in ("h", "c_last"):
        np.testing.assert_array_equal(kept[name], dropped[name])


def test_gradients_are_the_same_bits_when_that_of_x_is_not_wanted(kernels, case):
    given = case()
    c = kernels.forward(given)["c"]
    wanted, unwanted = kernels.backward(given, c), kernels.backward(given, c, want_grad_x=False)
    for name, value in unwanted.items():
        np.testing.assert_array_equal(value, wanted[name])


@pytest.mark.parametrize("num_directions", [1, 2])
@pytest.mark.parametrize("num_gates", [3, 4])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_what_padding_holds_reaches_nothing(kernels, case, poison, num_gates, num_directions):
    clean = case(8, num_gates=num_gates, num_directions=num_directions, v_per_position=True)
    pad = clean.mask_pad
    assert pad.any()
    assert not pad.all()
    dirty = {name: getattr(clean, name).copy() for name in ("u", "v", "grad_h")}
    if clean.x is not None:
        dirty["x"] = clean.x.copy()
    for array in dirty.values():
        array[pad] = poison
    poisoned = replace(clean, **dirty)
    expected, got = kernels.forward(clean), kernels.forward(poisoned)
    grads, got_grads = (kernels.backward(given, expected["c"]) for given in (clean, poisoned))
    for name, value in {**expected, **grads}.items():
        np.testing.assert_array_equal({**got, **got_grads}[name], value)
    assert not got["h"][pad].any()
    for name in ("grad_u", "grad_v", *(["grad_x"] if clean.x is not None else [])):
        assert not got_grads[name][pad].any()


def test_nan_in_one_column_stays_there(kernels, case):
    clean = case(absent=("mask_pad",), activation="tanh")
    u = clean.u.copy()
    u[2, 1, 1, 4] = np.nan
    got, expected = kernels.forward(replace(clean, u=u)), kernels.forward(clean)
    touched = np.zeros(expected["h"].shape, bool)
    touched[2:, 1, 4] = True
    np.testing.assert_array_equal(np.isnan(got["h"]), touched)
    np.testing.assert_array_equal(got["h"][~touched], expected["h"][~touched])


@pytest.mark.parametrize("storage", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
def test_saturated_gates_are_exact_and_have_no_slope(kernels, case, activation, storage):
    given = case(4, absent=("mask_pad", "mask_c"), activation=activation, storage=storage)
    for size in (1e4, np.inf):
        u = given.u.copy()
        u[:, :, 1] = size  # f = 1: the state never changes
        u[:, :, 2] = -size  # r = 0: the highway alone
        saturated = replace(given, u=u)
        got = kernels.forward(saturated)
        exact = saturated.rounded()
        np.testing.assert_array_equal(got["c"], np.broadcast_to(exact.c0, got["c"].shape))
        np.testing.assert_array_equal(got["h"], exact.x)
        grads = kernels.backward(saturated, got["c"])
        assert not grads["grad_u"].any()
        assert not grads["grad_v"].any()
        np.testing.assert_array_equal(grads["grad_x"], exact.grad_h)
        np.testing.assert_array_equal(grads["grad_c0"], exact.grad_c_last)


def test_very_large_inputs_stay_finite(kernels, oracle, case):
    given = case(num_gates=4, activation="tanh", storage="float64")
    signs = np.where(given.u > 0, 1e4, -1e4)
    assert_parity(kernels, oracle, replace(given, u=signs))
