"""The gated linear recurrence against the NumPy oracle, and against finite differences of it."""

import itertools
import os
from dataclasses import replace

import numpy as np
import pytest

from sru_kernels import GatedLinearBackward, GatedLinearForward, cpu

from .support.gated_linear import make_gated_linear, oracle_backward, oracle_forward
from .support.invoke import arguments

# What storage in each dtype may cost, of the largest number. States never pass through storage.
STORED = {"float64": 1e-13, "float32": 2e-6, "float16": 2.0**-10, "bfloat16": 2.0**-7}
ACCUMULATED = {"float64": 1e-13}
STORAGES = list(STORED)
IN_STORAGE = ("o", "grad_q", "grad_k", "grad_v")
OPTIONAL = ("s0", "grad_o", "grad_s")
# One number and odd ones; a vector of every set and one more; several tiles of columns and blocks of rows.
SIZES = [(1, 1), (1, 5), (3, 1), (5, 7), (16, 16), (17, 33), (32, 64), (33, 65), (70, 150), (150, 20)]


def assert_parity(case, num_threads=1):
    exact = case.rounded()
    expected = oracle_forward(exact)
    got = case.forward(num_threads=num_threads)
    assert_all_close(got, expected, case.storage)
    assert_all_close(
        case.backward(got["starts"], num_threads=num_threads), oracle_backward(exact), case.storage
    )


def assert_all_close(got, expected, storage):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = STORED[storage] if name in IN_STORAGE else ACCUMULATED.get(storage, 2e-6)
        largest = np.abs(value).max(initial=0.0)
        np.testing.assert_allclose(got[name], value, rtol=0, atol=tolerance * largest, err_msg=name)


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
@pytest.mark.parametrize("segment_length", [1, 4, 8, 100])
def test_parity_of_every_cut_into_segments(segment_length, length):
    assert_parity(make_gated_linear(length, segment_length=segment_length, storage="float64"))


@pytest.mark.parametrize(("batch", "heads"), [(0, 3), (3, 0), (1, 1), (1, 5), (50, 3)])
def test_parity_of_any_number_of_states(batch, heads):
    """Of none, and of more than are worked on together."""
    assert_parity(make_gated_linear(5, batch, heads, storage="float64"))


def test_the_gradients_are_those_of_the_outputs():
    """The oracle's, by complex steps."""
    case = make_gated_linear(4, 1, 2, 3, 2, storage="float64")

    def slope(name, index):
        given = getattr(case, name).astype(complex)
        given[index] += 1e-100j
        found = oracle_forward(replace(case, **{name: given}))
        return ((found["o"] * case.grad_o).sum() + (found["s"] * case.grad_s).sum()).imag / 1e-100

    for name in ("q", "k", "v", "log_g", "s0"):
        given = getattr(case, name)
        slopes = np.array([slope(name, index) for index in np.ndindex(given.shape)]).reshape(given.shape)
        np.testing.assert_allclose(oracle_backward(case)[f"grad_{name}"], slopes, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("size", [(20, 1, 1, 100, 150), (30, 3, 1, 70, 90), (20, 5, 3, 33, 65)])
def test_the_number_of_threads_does_not_change_a_bit(size, storage):
    case = make_gated_linear(*size, storage=storage)  # large enough for a second thread
    forward = case.forward()
    expected = {**forward, **case.backward(forward["starts"])}
    assert_parity(case)
    for num_threads in (2, 3, 4):
        got = {
            **case.forward(num_threads=num_threads),
            **case.backward(forward["starts"], num_threads=num_threads),
        }
        for name, value in expected.items():
            np.testing.assert_array_equal(got[name], value, err_msg=name)


@pytest.mark.parametrize("storage", STORAGES)
def test_the_rest_of_the_batch_does_not_change_a_bit(storage):
    case = make_gated_linear(10, 4, 2, 40, 70, storage=storage)
    forward = case.forward()
    together = {**forward, **case.backward(forward["starts"])}
    names = ("q", "k", "v", "log_g", "grad_o")
    alone = replace(
        case,
        **{name: getattr(case, name)[:, 2:3] for name in names},
        s0=case.s0[2:3],
        grad_s=case.grad_s[2:3],
    )
    forward = alone.forward()
    for name, value in {**forward, **alone.backward(forward["starts"])}.items():
        batch = 0 if name in ("s", "grad_s0") else 1
        np.testing.assert_array_equal(value, together[name].take([2], axis=batch), err_msg=name)


@pytest.mark.parametrize("storage", STORAGES)
def test_inference_without_saved_states_gives_the_same_bits(storage):
    case = make_gated_linear(storage=storage)
    kept, dropped = case.forward(), case.forward(keep_states=False)
    for name in ("o", "s"):
        np.testing.assert_array_equal(kept[name], dropped[name])


def test_it_may_be_cut_anywhere():
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
def test_a_shut_gate_forgets_all_and_an_open_one_nothing(storage):
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


def test_very_small_gates_do_no_harm():
    case = make_gated_linear(9, storage="float64")
    smallest = -np.geomspace(1e-3, 1e5, case.log_g.size).reshape(case.log_g.shape)
    assert_parity(replace(case, log_g=smallest))


def test_nan_in_one_state_stays_there():
    clean = make_gated_linear(9, 3, 2, 20, 40)
    q, k = clean.q.copy(), clean.k.copy()
    k[4, 1, 0, 3] = np.nan
    q[4, 1, 0, 3] = np.nan
    dirty = replace(clean, q=q, k=k)
    got, expected = dirty.forward(), clean.forward()
    results = {**got, **dirty.backward(got["starts"])}
    for name, value in {**expected, **clean.backward(expected["starts"])}.items():
        touched = np.moveaxis(results[name], (0, 1) if name in ("s", "grad_s0") else (1, 2), (0, 1))
        clean_value = np.moveaxis(value, (0, 1) if name in ("s", "grad_s0") else (1, 2), (0, 1))
        assert np.isnan(touched[1, 0]).any()
        for state in set(np.ndindex(3, 2)) - {(1, 0)}:
            np.testing.assert_array_equal(touched[state], clean_value[state])


def test_states_may_share_memory():
    case = make_gated_linear()
    expected = case.forward()
    arrays = case.encoded() | {name: np.empty(expected[name].shape, np.float32) for name in ("o", "starts")}
    address = {name: array.ctypes.data for name, array in arrays.items()}
    forward = {name: address[name] for name in ("q", "k", "v", "log_g", "s0", "o", "starts")}
    fields = arguments("gated_linear_forward", case._fields(), forward | {"s": address["s0"]})
    cpu.gated_linear_forward(fields, num_threads=1)
    np.testing.assert_array_equal(arrays["s0"], expected["s"])
    np.testing.assert_array_equal(arrays["starts"], expected["starts"])
    grads = case.backward(expected["starts"])
    outputs = {f"grad_{name}": np.empty_like(arrays[name]) for name in ("q", "k", "v", "log_g")}
    address |= {name: array.ctypes.data for name, array in outputs.items()}
    backward = {name: address[name] for name in GatedLinearBackward._fields if name in address}
    fields = arguments("gated_linear_backward", case._fields(), backward | {"grad_s0": address["grad_s"]})
    cpu.gated_linear_backward(fields, num_threads=1)
    np.testing.assert_array_equal(arrays["grad_s"], grads["grad_s0"])


SIZES_OF_FIELDS = {"length": 2, "batch": 3, "heads": 2, "key_size": 4, "value_size": 4, "segment_length": 8}
INPUTS = dict.fromkeys(("q", "k", "v", "log_g"), 64)
FORWARD = {**INPUTS, "o": 64, "s": 64}
GRADIENTS = ("grad_q", "grad_k", "grad_v", "grad_log_g", "grad_s0")
BACKWARD = {**INPUTS, "starts": 64, **dict.fromkeys(GRADIENTS, 64)}
GIVEN = {"gated_linear_forward": FORWARD, "gated_linear_backward": BACKWARD}


def call(function, num_threads=1, **change):
    """No address here is ever read: each call fails before, or has nothing to do."""
    values = {"dtype": "float32", **SIZES_OF_FIELDS, **GIVEN[function], **change}
    getattr(cpu, function)(arguments(function, values, {}), num_threads=num_threads)


@pytest.mark.parametrize("function", GIVEN)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": -1}, "length must be at least 0, got -1"),
        ({"batch": -1}, "batch must be at least 0, got -1"),
        ({"heads": -1}, "heads must be at least 0, got -1"),
        ({"key_size": 0}, "key_size must be at least 1, got 0"),
        ({"value_size": 0}, "value_size must be at least 1, got 0"),
        ({"segment_length": 0}, "segment_length must be at least 1, got 0"),
        ({"num_threads": 0}, "num_threads must be at least 1, got 0"),
    ],
)
def test_impossible_sizes_are_refused(change, message, function):
    with pytest.raises(ValueError, match=f"^{function}: {message}"):
        call(function, **change)


@pytest.mark.parametrize(
    ("function", "name"), [(function, name) for function, given in GIVEN.items() for name in given]
)
def test_arrays_are_needed_unless_there_is_nothing_to_do(function, name):
    with pytest.raises(ValueError, match=f"^{function}: {name} is required, got a null pointer"):
        call(function, **{name: 0})
    assert call(function, batch=0, **{name: 0}) is None


@pytest.mark.parametrize("function", GIVEN)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 2.0}, r"heads must be an int of 64 bits, got 2\.0"),
        ({"q": None}, "q must be an address as an int, or 0, got None"),
    ],
)
def test_each_field_has_its_type(change, message, function):
    with pytest.raises(TypeError, match=f"^{function}: {message}"):
        call(function, **change)


def test_the_arguments_are_those_of_the_function():
    fields = [0] * len(GatedLinearBackward._fields)
    with pytest.raises(TypeError, match=r"^gated_linear_forward: args must be a GatedLinearForward of 15"):
        cpu.gated_linear_forward(GatedLinearBackward(*fields), num_threads=1)
    with pytest.raises(TypeError, match=r"^gated_linear_backward: args must be a GatedLinearBackward of 19"):
        cpu.gated_linear_backward(GatedLinearForward(*fields[:15]), num_threads=1)


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer ends the process")
@pytest.mark.parametrize("function", GIVEN)
def test_too_little_memory_is_an_exception(function):
    with pytest.raises(MemoryError):
        call(function, key_size=2**40, value_size=2**10)
