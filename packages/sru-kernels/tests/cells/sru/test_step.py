"""One step with its projection, against the NumPy oracle and the recurrence."""

from dataclasses import replace

import numpy as np
import pytest

from sru_kernels import cpu

from ...support.engines import cpu_engine
from ...support.invoke import arguments
from .cases import Sru, make_step

# Tolerances for h by storage dtype; the states and u are never stored in S.
H_TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "float16": 2.0**-10, "bfloat16": 2.0**-7}
STORAGES = list(H_TOLERANCES)
HIGHWAYS = pytest.mark.parametrize(("num_gates", "absent"), [(3, ()), (3, ("x",)), (4, ())])
# Batches larger than a group, inputs shorter than a vector, columns not divisible by the rows of a group.
SIZES = [(1, 1, 1), (1, 64, 64), (2, 16, 4), (3, 15, 31), (4, 100, 33), (5, 17, 130), (9, 40, 7), (17, 3, 66)]


def assert_parity(case):
    got = case.step()
    for name, value in case.expected().items():
        precise = 1e-12 if case.storage == "float64" else 1e-5
        rtol = H_TOLERANCES[case.storage] if name == "h" else precise
        np.testing.assert_allclose(got[name], value, rtol=rtol, atol=precise, err_msg=name)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
@pytest.mark.parametrize("without_state", [(), ("c0",)])
@HIGHWAYS
@pytest.mark.parametrize("columns", [17, 64])
def test_parity_of_every_compiled_loop(columns, num_gates, absent, without_state, activation, storage):
    options = {"activation": activation, "storage": storage, "scale_x": 1.7}
    absent = (*absent, *without_state)
    assert_parity(make_step(columns=columns, num_gates=num_gates, absent=absent, **options))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("quantized", [False, True])
def test_parity_of_odd_sizes(quantized, size, storage):
    assert_parity(make_step(*size, storage=storage, quantized=quantized))


@pytest.mark.parametrize("size", [(0, 5, 4), (3, 0, 4), (3, 5, 0), (0, 0, 0)])
def test_parity_of_empty_arrays(size):
    assert_parity(make_step(*size))


@pytest.mark.parametrize("storage", STORAGES)
@HIGHWAYS
def test_parity_of_an_int8_weight(num_gates, absent, storage):
    assert_parity(make_step(2, 150, 45, num_gates=num_gates, absent=absent, storage=storage, quantized=True))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
@HIGHWAYS
def test_a_step_equals_the_recurrence(num_gates, absent, activation, storage):
    options = {"activation": activation, "storage": storage, "scale_x": 1.7}
    step = make_step(1, 1, 35, num_gates=num_gates, absent=absent, **options)
    step = replace(step, input=np.ones((1, 1)))  # makes u equal to the weight
    x = None if step.x is None else step.x[None]
    case = Sru(step.weight[None, None, :, :, 0], step.v, step.bias, step.c0, x, **options)
    expected, got = case.forward(keep_states=False), step.step()
    np.testing.assert_array_equal(got["h"], expected["h"][0])
    np.testing.assert_array_equal(got["c_last"], expected["c_last"])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("num_threads", [2, 3])
@pytest.mark.parametrize("size", [(3, 131, 257), (1, 700, 67)])  # large enough for a second thread
@pytest.mark.parametrize("quantized", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(quantized, size, num_threads, storage):
    step = make_step(*size, storage=storage, quantized=quantized)
    expected = step.step()
    for name, value in step.step(cpu_engine(num_threads)).items():
        np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("row", [0, 7, 8, 10])
def test_results_do_not_depend_on_the_rest_of_the_batch(row, storage):
    step = make_step(11, 50, 37, storage=storage)
    alone = replace(step, **{name: getattr(step, name)[row : row + 1] for name in ("input", "c0", "x")})
    together = step.step()
    for name, value in alone.step().items():
        np.testing.assert_array_equal(value[0], together[name][row])


def test_final_states_may_overwrite_initial_ones():
    step = make_step(2, 19, 19)
    step = replace(step, x=step.input)
    expected = step.step()
    read = ("weight", "input", "v", "bias", "c0")
    arrays = {name: getattr(step, name).astype(np.float32) for name in read}
    arrays["h"] = np.empty((2, 19), np.float32)
    address = {name: array.ctypes.data for name, array in arrays.items()}
    shared = {**address, "x": address["input"], "c_last": address["c0"]}
    cpu.sru_step(arguments("sru_step", {"dtype": "float32", **step.options()}, shared), num_threads=1)
    np.testing.assert_array_equal(arrays["h"], expected["h"])
    np.testing.assert_array_equal(arrays["c0"], expected["c_last"])


def test_nan_in_the_weight_affects_only_its_column():
    clean = make_step()
    weight = clean.weight.copy()
    weight[1, 5, 3] = np.nan
    got, expected = replace(clean, weight=weight).step(), clean.step()
    touched = np.zeros(expected["h"].shape, bool)
    touched[:, 5] = True
    for name, value in expected.items():
        np.testing.assert_array_equal(np.isnan(got[name]), touched)
        np.testing.assert_array_equal(got[name][~touched], value[~touched])
