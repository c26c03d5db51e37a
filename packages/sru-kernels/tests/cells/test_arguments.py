"""The arguments that every kernel rejects. No call here reads from an address."""

import os
from itertools import combinations

import pytest

from sru_kernels import cpu

from ..support.invoke import TUPLES, arguments

SRU = {"dtype": "float32", "activation": "identity", "length": 2, "batch": 3, "hidden_size": 4}
SRU |= {"num_directions": 1, "num_gates": 3, "scale_x": 1.0, "v_per_position": False}
STEP = {"dtype": "float32", "activation": "identity", "batch": 3, "input_size": 5, "columns": 4}
STEP |= {"num_gates": 3, "scale_x": 1.0}
GATED = {"dtype": "float32", "length": 2, "batch": 3, "heads": 2, "key_size": 4, "value_size": 4}
GATED |= {"segment_length": 8}
LIGRU = {"dtype": "float32", "activation": "relu", "length": 2, "batch": 3, "hidden_size": 4}
LIGRU |= {"num_directions": 1, "has_norm": False}
SIZES = {
    "sru_forward": SRU,
    "sru_backward": SRU,
    "sru_step": STEP,
    "gated_linear_forward": GATED,
    "gated_linear_backward": GATED,
    "ligru_forward": {**LIGRU, "norm_eps": 0.0},
    "ligru_backward": LIGRU,
}
REQUIRED = {
    "sru_forward": ("u", "v", "bias", "h", "c_last"),
    "sru_backward": ("u", "v", "bias", "c", "grad_u", "grad_v", "grad_bias", "grad_c0"),
    "sru_step": ("weight", "input", "v", "bias", "h", "c_last"),
    "gated_linear_forward": ("q", "k", "v", "log_g", "o", "s"),
    "gated_linear_backward": (
        *("q", "k", "v", "log_g", "starts"),
        *("grad_q", "grad_k", "grad_v", "grad_log_g", "grad_s0"),
    ),
    "ligru_forward": ("u", "weight", "h", "h_last"),
    "ligru_backward": ("u", "weight", "before", "products", "grad_sums", "grad_h0"),
}
AXES = ("length", "batch", "heads", "hidden_size", "input_size", "columns", "key_size", "value_size")
LEAST = {**dict.fromkeys(AXES, 0), "segment_length": 1}
KERNELS = list(SIZES)
PAIRS = [
    (kernel, *pair)
    for kernel in KERNELS
    for pair in combinations(filter(AXES.__contains__, SIZES[kernel]), 2)
]


def call(kernel, num_threads=1, **change):
    values = {**SIZES[kernel], **dict.fromkeys(REQUIRED[kernel], 64), **change}
    getattr(cpu, kernel)(arguments(kernel, values), num_threads=num_threads)


def test_every_kernel_is_tested_here():
    assert set(KERNELS) == set(TUPLES)


@pytest.mark.parametrize(
    ("kernel", "name"), [(kernel, name) for kernel in KERNELS for name in SIZES[kernel] if name in LEAST]
)
def test_sizes_have_a_minimum(kernel, name):
    too_small = LEAST[name] - 1
    message = f"^{kernel}: {name} must be at least {LEAST[name]}, got {too_small}$"
    with pytest.raises(ValueError, match=message):
        call(kernel, **{name: too_small})


@pytest.mark.parametrize("size", [2**50, 2**62, 2**63 - 1])
@pytest.mark.parametrize(
    ("kernel", "name"), [(kernel, name) for kernel in KERNELS for name in SIZES[kernel] if name in AXES]
)
def test_a_size_too_large_for_any_memory_is_refused(kernel, name, size):
    message = f"^{kernel}: {name} must keep the product of all sizes below 2\\^50, got {size}$"
    with pytest.raises(ValueError, match=message):
        call(kernel, **{name: size})


@pytest.mark.parametrize("others", [1, 0])
@pytest.mark.parametrize(("kernel", "first", "second"), PAIRS)
def test_sizes_whose_product_overflows_are_refused(kernel, first, second, others):
    """Even with an empty axis, because kernels also compute products of the other axes."""
    sizes = {name: others for name in SIZES[kernel] if name in AXES}
    message = f"^{kernel}: {second} must keep the product of all sizes below 2\\^50, got 4294967296$"
    with pytest.raises(ValueError, match=message):
        call(kernel, **{**sizes, first: 2**32, second: 2**32})


@pytest.mark.parametrize("kernel", KERNELS)
def test_num_threads_must_be_positive(kernel):
    with pytest.raises(ValueError, match=rf"^{kernel}: num_threads must be at least 1, got 0$"):
        call(kernel, num_threads=0)


@pytest.mark.parametrize("kernel", ["sru_forward", "sru_backward", "sru_step"])
@pytest.mark.parametrize("num_gates", [2, 5])
def test_num_gates_must_be_three_or_four(kernel, num_gates):
    with pytest.raises(ValueError, match=rf"^{kernel}: num_gates must be 3 or 4, got {num_gates}$"):
        call(kernel, num_gates=num_gates)


@pytest.mark.parametrize("kernel", ["sru_forward", "sru_backward", "ligru_forward", "ligru_backward"])
@pytest.mark.parametrize("num_directions", [0, 3])
def test_num_directions_must_be_one_or_two(kernel, num_directions):
    with pytest.raises(ValueError, match=rf"^{kernel}: num_directions must be 1 or 2, got {num_directions}$"):
        call(kernel, num_directions=num_directions)


@pytest.mark.parametrize(
    ("kernel", "activation", "known"),
    [
        ("sru_forward", "sin", "identity, tanh, relu"),
        ("sru_step", "leaky_relu", "identity, tanh, relu"),
        ("ligru_backward", "identity", "tanh, relu, sin, leaky_relu"),
    ],
)
def test_activations_that_a_cell_lacks_are_refused(kernel, activation, known):
    message = f"^{kernel}: activation must be one of {known}, got {activation}$"
    with pytest.raises(ValueError, match=message):
        call(kernel, activation=activation)


@pytest.mark.parametrize(
    ("kernel", "names"),
    [
        ("ligru_forward", ("norm_weight", "norm_bias", "rstd")),
        ("ligru_backward", ("norm_weight", "norm_bias")),
    ],
)
def test_arrays_of_a_norm_are_refused_without_one(kernel, names):
    for name in names:
        message = rf"^{kernel}: {name} must be absent \(0\) without a norm$"
        with pytest.raises(ValueError, match=message):
            call(kernel, **{name: 64})


@pytest.mark.parametrize("name", ["rstd", "grad_products"])
def test_a_norm_needs_more_arrays(name):
    given = {"rstd": 64, "grad_products": 64, name: 0}
    with pytest.raises(ValueError, match=f"^ligru_backward: {name} is required, got a null pointer$"):
        call("ligru_backward", has_norm=True, **given)


@pytest.mark.parametrize("kernel", ["sru_forward", "sru_backward", "sru_step"])
def test_x_is_refused_with_four_gates(kernel):
    message = rf"^{kernel}: x must be absent \(0\) with num_gates = 4, whose fourth gate is the highway$"
    with pytest.raises(ValueError, match=message):
        call(kernel, num_gates=4, x=64)


def test_grad_x_without_x_is_refused():
    with pytest.raises(
        ValueError, match=r"^sru_backward: grad_x must be absent \(0\) without x; with num_gates"
    ):
        call("sru_backward", grad_x=64)


@pytest.mark.parametrize(
    ("kernel", "name"), [(kernel, name) for kernel in KERNELS for name in REQUIRED[kernel]]
)
def test_arrays_are_required_unless_empty(kernel, name):
    with pytest.raises(ValueError, match=f"^{kernel}: {name} is required, got a null pointer$"):
        call(kernel, **{name: 0})
    assert call(kernel, batch=0, **{name: 0}) is None


def test_grad_v_per_position_is_not_required_for_an_empty_sequence():
    outputs = dict.fromkeys(("grad_bias", "grad_c0"), 64)
    with pytest.raises(ValueError, match=r"^sru_backward: grad_v is required"):
        call("sru_backward", length=0, **outputs, grad_v=0)
    with pytest.raises(ValueError, match=r"^sru_backward: grad_c0 is required"):
        call("sru_backward", length=0, v_per_position=True, grad_bias=64, grad_v=0, grad_c0=0)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dtype", 0, "dtype must be a member of DType, got 0"),
        ("activation", 1, "activation must be a member of Activation, got 1"),
        ("length", 2.0, r"length must be an int of 64 bits, got 2\.0"),
        ("batch", 2**63, "batch must be an int of 64 bits, got 9223372036854775808"),
        ("v", None, "v must be an address as an int, or 0, got None"),
        ("v", -1, "v must be an address as an int, or 0, got -1"),
        ("scale_x", "1", "scale_x must be a float, got '1'"),
        ("v_per_position", 0, "v_per_position must be a bool, got 0"),
        ("has_norm", 1, "has_norm must be a bool, got 1"),
        ("norm_eps", None, "norm_eps must be a float, got None"),
        ("length", True, "length must be an int of 64 bits, got True"),
        ("u", True, "u must be an address as an int, or 0, got True"),
    ],
)
def test_each_field_has_its_type(kernel, name, value, message):
    if name not in TUPLES[kernel]._fields:
        pytest.skip(f"{kernel} has no {name}")
    with pytest.raises(TypeError, match=f"^{kernel}: {message}$"):
        call(kernel, **{name: value})


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_tuple_of_another_length_is_refused(kernel):
    kind = TUPLES[kernel]
    message = rf"^{kernel}: args must be the {len(kind._fields)} fields of {kind.__name__}, got 3$"
    with pytest.raises(TypeError, match=message):
        getattr(cpu, kernel)((0, 0, 0), num_threads=1)


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer ends the process")
@pytest.mark.parametrize(
    ("kernel", "sizes"),
    [
        ("gated_linear_forward", {"key_size": 2**30, "value_size": 2**16}),
        ("gated_linear_backward", {"key_size": 2**30, "value_size": 2**16}),
        ("ligru_forward", {"hidden_size": 2**23}),
        ("ligru_backward", {"hidden_size": 2**23}),
    ],
)
def test_too_little_memory_raises(kernel, sizes):
    with pytest.raises(MemoryError):
        call(kernel, **sizes)
