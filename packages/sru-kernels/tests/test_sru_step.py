"""One step with its projection, against the NumPy oracle and the recurrence."""

from dataclasses import replace

import numpy as np
import pytest

from sru_kernels import Activation, DType, SruStep, cpu

from .support.cases import Case
from .support.engines import cpu_engine
from .support.kernels import Kernels
from .support.steps import make_step

# What storage may cost h; the states, and u before them, never pass through storage.
H_TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "float16": 2.0**-10, "bfloat16": 2.0**-7}
STORAGES = list(H_TOLERANCES)
# Batches beyond what is held at once, inputs shorter than a vector, columns that no group of rows divides.
SIZES = [(1, 1, 1), (1, 64, 64), (2, 16, 4), (3, 15, 31), (4, 100, 33), (5, 17, 130), (9, 40, 7), (17, 3, 66)]


def assert_parity(step):
    got = step.run()
    for name, value in step.expected().items():
        precise = 1e-12 if step.storage == "float64" else 1e-5
        rtol = H_TOLERANCES[step.storage] if name == "h" else precise
        np.testing.assert_allclose(got[name], value, rtol=rtol, atol=precise, err_msg=name)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize(("num_gates", "absent"), [(3, ()), (3, ("x",)), (4, ())])
@pytest.mark.parametrize("columns", [17, 64])
def test_parity_of_every_compiled_loop(columns, num_gates, absent, with_state, activation, storage):
    absent = absent if with_state else (*absent, "c0")
    options = {"activation": activation, "storage": storage, "scale_x": 1.7}
    assert_parity(make_step(columns=columns, num_gates=num_gates, absent=absent, **options))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("quantized", [False, True])
def test_parity_of_odd_sizes(quantized, size, storage):
    assert_parity(make_step(*size, storage=storage, quantized=quantized))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("num_gates", "absent"), [(3, ()), (3, ("x", "c0")), (4, ())])
def test_parity_of_an_int8_weight(num_gates, absent, storage):
    assert_parity(make_step(2, 150, 45, num_gates=num_gates, absent=absent, storage=storage, quantized=True))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
@pytest.mark.parametrize(("num_gates", "absent"), [(3, ()), (3, ("x",)), (4, ())])
def test_the_recurrence_gives_the_same_bits(num_gates, absent, activation, storage):
    options = {"activation": activation, "storage": storage, "scale_x": 1.7}
    step = make_step(1, 1, 35, num_gates=num_gates, absent=absent, **options)
    step = replace(step, input=np.ones((1, 1)))  # u is then the weight, exactly
    x = None if step.x is None else step.x[None]
    case = Case(step.weight[None, None, :, :, 0], step.v, step.bias, step.c0, x, **options)
    expected = Kernels(cpu_engine()).forward(case, keep_states=False)
    got = step.run()
    np.testing.assert_array_equal(got["h"], expected["h"][0])
    np.testing.assert_array_equal(got["c"], expected["c_last"])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("size", [(3, 131, 257), (1, 700, 67)])
@pytest.mark.parametrize("quantized", [False, True])
def test_the_number_of_threads_does_not_change_a_bit(quantized, size, storage):
    step = make_step(*size, storage=storage, quantized=quantized)  # large enough for a second thread
    expected = step.run()
    for num_threads in (2, 3):
        for name, value in step.run(num_threads).items():
            np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize("storage", STORAGES)
def test_the_rest_of_the_batch_does_not_change_a_bit(storage):
    step = make_step(11, 50, 37, storage=storage)
    together = step.run()
    for b in (0, 7, 8, 10):
        rows = {name: getattr(step, name)[b : b + 1] for name in ("input", "c0", "x")}
        for name, value in replace(step, **rows).run().items():
            np.testing.assert_array_equal(value[0], together[name][b])


def test_state_and_highway_may_share_memory_with_what_they_belong_to():
    step = make_step(2, 19, 19)
    step = replace(step, x=step.input)
    expected = step.run()
    arrays = step.encoded()
    state, h = arrays["c0"], np.empty((2, 19), np.float32)
    address = {name: array.ctypes.data for name, array in {**arrays, "h": h}.items()}
    address |= {"x": address["input"], "c_last": address["c0"]}
    kind = {"dtype": DType.float32, "activation": Activation.identity, "scale_x": 1.0}
    size = {"batch": 2, "input_size": 19, "columns": 19, "num_gates": 3}
    cpu.sru_step(SruStep(**kind, **size, **address), num_threads=1)
    np.testing.assert_array_equal(h, expected["h"])
    np.testing.assert_array_equal(state, expected["c"])


def test_nan_in_a_row_of_the_weight_stays_in_its_column():
    clean = make_step()
    weight = clean.weight.copy()
    weight[1, 5, 3] = np.nan
    got, expected = replace(clean, weight=weight).run(), clean.run()
    touched = np.zeros(expected["h"].shape, bool)
    touched[:, 5] = True
    for name, value in expected.items():
        np.testing.assert_array_equal(np.isnan(got[name]), touched)
        np.testing.assert_array_equal(got[name][~touched], value[~touched])
