"""What the bindings refuse. No address here is ever read: each call fails before."""

import pytest

from sru_kernels import Activation, DType, cpu

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
    "num_threads": 1,
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
SIZES = [
    ({"num_gates": 2}, "num_gates must be 3 or 4, got 2"),
    ({"num_gates": 5}, "num_gates must be 3 or 4, got 5"),
    ({"num_directions": 0}, "num_directions must be 1 or 2, got 0"),
    ({"num_directions": 3}, "num_directions must be 1 or 2, got 3"),
    ({"length": -1}, "length must be at least 0, got -1"),
    ({"batch": -1}, "batch must be at least 0, got -1"),
    ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
    ({"num_threads": 0}, "num_threads must be at least 1, got 0"),
    ({"num_gates": 4}, r"x must be absent \(0\) with num_gates = 4"),
]


@pytest.mark.parametrize(("change", "message"), SIZES)
def test_forward_refuses_impossible_sizes(change, message):
    with pytest.raises(ValueError, match=f"^sru_forward: {message}"):
        cpu.sru_forward(**{**FORWARD, **change})


@pytest.mark.parametrize(("change", "message"), SIZES)
def test_backward_refuses_impossible_sizes(change, message):
    with pytest.raises(ValueError, match=f"^sru_backward: {message}"):
        cpu.sru_backward(**{**BACKWARD, **change})


@pytest.mark.parametrize("name", ["u", "v", "bias", "h", "c_last"])
def test_forward_needs_its_arrays(name):
    with pytest.raises(ValueError, match=f"^sru_forward: {name} is required, got a null pointer"):
        cpu.sru_forward(**{**FORWARD, name: 0})


@pytest.mark.parametrize("name", ["u", "v", "bias", "c", "grad_u", "grad_v", "grad_bias", "grad_c0"])
def test_backward_needs_its_arrays(name):
    with pytest.raises(ValueError, match=f"^sru_backward: {name} is required, got a null pointer"):
        cpu.sru_backward(**{**BACKWARD, name: 0})


def test_grad_x_without_x_is_refused():
    with pytest.raises(ValueError, match=r"^sru_backward: grad_x needs x; with num_gates = 4"):
        cpu.sru_backward(**{**BACKWARD, "x": 0, "grad_x": 64})


def test_an_empty_batch_needs_no_arrays():
    arrays = ("u", "v", "bias", "x", "h", "c", "c_last")
    assert cpu.sru_forward(**{**FORWARD, "batch": 0, **dict.fromkeys(arrays, 0)}) is None


def test_arguments_have_no_order():
    with pytest.raises(TypeError, match="positional"):
        cpu.sru_forward(*FORWARD.values())


def test_modes_are_enums():
    with pytest.raises(TypeError, match="incompatible function arguments"):
        cpu.sru_forward(**{**FORWARD, "activation": 1})
