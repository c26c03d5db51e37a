"""What the bindings refuse. No address here is ever read: each call fails before."""

import pytest

from sru_kernels import Activation, DType, SruBackward, SruForward, SruStep, cpu

INPUTS = {
    "dtype": DType.float32,
    "activation": Activation.identity,
    "length": 2,
    "batch": 3,
    "hidden_size": 4,
    "num_directions": 1,
    "num_gates": 3,
    "u": 64,
    "v": 64,
    "v_per_position": False,
    "bias": 64,
    "c0": 0,
    "x": 64,
    "scale_x": 1.0,
    "mask_c": 0,
    "mask_pad": 0,
}
FORWARD = {**INPUTS, "h": 64, "c": 64, "c_last": 64}
BACKWARD = {
    **INPUTS,
    "c": 64,
    "grad_h": 0,
    "grad_c_last": 0,
    "grad_u": 64,
    "grad_x": 0,
    "grad_v": 64,
    "grad_bias": 64,
    "grad_c0": 64,
}
STEP = {
    **{"dtype": DType.float32, "activation": Activation.identity, "scale_x": 1.0},
    **{"batch": 3, "input_size": 5, "columns": 4, "num_gates": 3},
    **{"weight": 64, "input": 64, "v": 64, "bias": 64, "c0": 0, "x": 64, "h": 64, "c_last": 64},
}
SIZES = [
    ({"num_gates": 2}, "num_gates must be 3 or 4, got 2"),
    ({"num_gates": 5}, "num_gates must be 3 or 4, got 5"),
    ({"num_directions": 0}, "num_directions must be 1 or 2, got 0"),
    ({"num_directions": 3}, "num_directions must be 1 or 2, got 3"),
    ({"length": -1}, "length must be at least 0, got -1"),
    ({"batch": -1}, "batch must be at least 0, got -1"),
    ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
    ({"num_gates": 4}, r"x must be absent \(0\) with num_gates = 4"),
]


def forward(num_threads=1, **change):
    cpu.sru_forward(SruForward(**{**FORWARD, **change}), num_threads=num_threads)


def backward(num_threads=1, **change):
    cpu.sru_backward(SruBackward(**{**BACKWARD, **change}), num_threads=num_threads)


def step(num_threads=1, **change):
    cpu.sru_step(SruStep(**{**STEP, **change}), num_threads=num_threads)


@pytest.mark.parametrize(("change", "message"), SIZES)
def test_forward_refuses_impossible_sizes(change, message):
    with pytest.raises(ValueError, match=f"^sru_forward: {message}"):
        forward(**change)


@pytest.mark.parametrize(("change", "message"), SIZES)
def test_backward_refuses_impossible_sizes(change, message):
    with pytest.raises(ValueError, match=f"^sru_backward: {message}"):
        backward(**change)


@pytest.mark.parametrize("name", ["u", "v", "bias", "h", "c_last"])
def test_forward_needs_its_arrays(name):
    with pytest.raises(ValueError, match=f"^sru_forward: {name} is required, got a null pointer"):
        forward(**{name: 0})


@pytest.mark.parametrize("name", ["u", "v", "bias", "c", "grad_u", "grad_v", "grad_bias", "grad_c0"])
def test_backward_needs_its_arrays(name):
    with pytest.raises(ValueError, match=f"^sru_backward: {name} is required, got a null pointer"):
        backward(**{name: 0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_gates": 2}, "num_gates must be 3 or 4, got 2"),
        ({"num_gates": 4}, r"x must be absent \(0\) with num_gates = 4"),
        ({"batch": -1}, "batch must be at least 0, got -1"),
        ({"input_size": 0}, "input_size must be at least 1, got 0"),
        ({"columns": 0}, "columns must be at least 1, got 0"),
        *[
            ({name: 0}, f"{name} is required, got a null pointer")
            for name in ("weight", "input", "v", "bias", "h", "c_last")
        ],
        ({"num_threads": 0}, "num_threads must be at least 1, got 0"),
    ],
)
def test_step_refuses_impossible_sizes_and_needs_its_arrays(change, message):
    with pytest.raises(ValueError, match=f"^sru_step: {message}"):
        step(**change)


def test_grad_x_without_x_is_refused():
    with pytest.raises(ValueError, match=r"^sru_backward: grad_x needs x; with num_gates = 4"):
        backward(x=0, grad_x=64)


def test_at_least_one_thread_is_needed():
    with pytest.raises(ValueError, match=r"^sru_forward: num_threads must be at least 1, got 0"):
        forward(num_threads=0)
    with pytest.raises(ValueError, match=r"^sru_backward: num_threads must be at least 1, got 0"):
        backward(num_threads=0)


def test_an_empty_batch_needs_no_arrays():
    arrays = ("u", "v", "bias", "x", "h", "c", "c_last")
    assert forward(batch=0, **dict.fromkeys(arrays, 0)) is None
    assert step(batch=0, **dict.fromkeys(("weight", "input", "v", "bias", "x", "h", "c_last"), 0)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float32"}, "dtype must be a DType, got 'float32'"),
        ({"activation": 1}, "activation must be an Activation, got 1"),
        ({"length": 2.0}, r"length must be an int of 64 bits, got 2\.0"),
        ({"batch": 2**63}, "batch must be an int of 64 bits, got 9223372036854775808"),
        ({"u": None}, "u must be an address as an int, or 0, got None"),
        ({"v": -1}, "v must be an address as an int, or 0, got -1"),
        ({"scale_x": "1"}, "scale_x must be a float, got '1'"),
        ({"v_per_position": 0}, "v_per_position must be a bool, got 0"),
    ],
)
def test_each_field_has_its_type(change, message):
    with pytest.raises(TypeError, match=f"^sru_forward: {message}"):
        forward(**change)
    with pytest.raises(TypeError, match=f"^sru_backward: {message}"):
        backward(**change)


def test_the_arguments_are_those_of_the_function():
    with pytest.raises(TypeError, match=r"^sru_forward: args must be an SruForward of 19 fields, got 24"):
        cpu.sru_forward(SruBackward(**BACKWARD), num_threads=1)
    with pytest.raises(TypeError, match=r"^sru_step: args must be an SruStep of 16 fields, got 19"):
        cpu.sru_step(SruForward(**FORWARD), num_threads=1)
    with pytest.raises(TypeError, match=r"^sru_backward: args must be an SruBackward of 24 fields, got 19"):
        cpu.sru_backward(SruForward(**FORWARD), num_threads=1)
