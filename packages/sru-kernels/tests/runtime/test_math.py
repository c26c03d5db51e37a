"""Sigmoid, tanh and the 16-bit conversions, each isolated by an SRU recurrence of one step."""

from dataclasses import replace

import numpy as np
import pytest

from ..cells.sru.cases import make_sru
from ..support.engines import GPU, ON_PTX

# Not with the CUDA source compiled by g++, which has the CPU's math functions and a slow fiber per column.
pytestmark = pytest.mark.parametrize("engine_name", ["cpu", *ON_PTX, GPU])
EXTENDED = np.longdouble  # the reference for float64 results; 80 bits on x86


def one_step(storage, count, **arrays):
    """A step of `count` columns in which everything is zero except the given arrays."""
    zero = make_sru(1, 1, count, absent=("x", "mask_c", "marks"), storage=storage)
    blank = {name: np.zeros_like(getattr(zero, name)) for name in ("u", "v", "bias", "c0")}
    gates = [np.broadcast_to(arrays.get(name, 0.0), count) for name in ("u_c", "u_f", "u_r")]
    blank["u"] = np.stack(gates)[None, None]
    blank["c0"] = np.broadcast_to(np.asarray(arrays.get("c0", 0.0)), (1, count))
    return replace(zero, **blank, activation=arrays.get("activation", "identity"))


def grid(dtype, limit):
    """Numbers of both signs up to `limit`, dense around 0, representable in `dtype`."""
    positive = np.concatenate([np.linspace(0, limit, 60_000), np.geomspace(1e-30, limit, 20_000)])
    return np.concatenate([positive, -positive]).astype(dtype).astype(np.float64)


def ulps(got, expected, dtype):
    """The error in ulps of `dtype`; below its smallest normal number, in ulps of that number."""
    size = np.maximum(np.abs(expected).astype(np.float64), np.finfo(dtype).tiny)
    return np.abs(got - expected).astype(np.float64) / np.spacing(size.astype(dtype)).astype(np.float64)


@pytest.mark.parametrize(
    ("storage", "dtype", "limit"), [("float32", np.float32, 85.0), ("float64", np.float64, 700.0)]
)
def test_sigmoid_is_accurate_to_a_few_ulp_on_both_sides(engine, storage, dtype, limit):
    points = grid(dtype, limit)
    z = points.astype(EXTENDED)
    # With c' = 1 and u_c = 0 the new state is f; with c' = 0 and u_c = 1 it is 1 − f.
    opened = one_step(storage, points.size, u_f=points, c0=1.0).forward(engine)["c"].ravel()
    closed = one_step(storage, points.size, u_f=points, u_c=1.0).forward(engine)["c"].ravel()
    assert ulps(opened, 1 / (1 + np.exp(-z)), dtype).max() <= 3
    assert ulps(closed, 1 / (1 + np.exp(z)), dtype).max() <= 3


@pytest.mark.parametrize(("storage", "dtype"), [("float32", np.float32), ("float64", np.float64)])
def test_tanh_is_accurate_to_a_few_ulp(engine, storage, dtype):
    points = grid(dtype, 50.0)
    step = one_step(storage, points.size, u_f=np.inf, u_r=np.inf, c0=points, activation="tanh")
    got = step.forward(engine)["h"].ravel()
    assert ulps(got, np.tanh(points.astype(EXTENDED)), dtype).max() <= 4


@pytest.mark.parametrize("storage", ["float32", "float64"])
def test_functions_at_their_limits(engine, storage):
    points = np.array([-np.inf, -1e30, 0.0, 1e30, np.inf, np.nan])
    got = one_step(storage, points.size, u_f=points, c0=1.0).forward(engine)["c"].ravel()
    np.testing.assert_array_equal(got, [0.0, 0.0, 0.5, 1.0, 1.0, np.nan])
    finite = np.array([-1e30, 0.0, 1e30, np.nan])
    step = one_step(storage, finite.size, u_f=np.inf, u_r=np.inf, c0=finite, activation="tanh")
    np.testing.assert_array_equal(step.forward(engine)["h"].ravel(), [-1.0, 0.0, 1.0, np.nan])


def stored_as(engine, storage, values):
    """The values that the kernel stores for float32 values: with both gates open, h = c0."""
    step = one_step(storage, values.size, u_f=np.inf, u_r=np.inf, c0=values)
    return step.forward(engine)["h"].ravel()


@pytest.mark.parametrize(
    ("storage", "bits", "largest"), [("float16", 11, 65504.0), ("bfloat16", 8, 3.3895313892515355e38)]
)
def test_stores_round_to_nearest_even(engine, storage, bits, largest):
    significands = 1 + np.arange(2**bits) / 2 ** (
        bits - 1
    )  # every number of that many bits, and the next binade
    midpoints = significands + 2.0**-bits
    near = [np.nextafter(np.float32(m), np.float32(side)) for m in midpoints for side in (0, 4)]
    values = np.concatenate([significands, midpoints, np.asarray(near, np.float64)])
    values = np.concatenate([values * 2.0**exponent for exponent in (-10, 0, 5)])
    values = np.concatenate([values, -values, [largest]])
    mantissa, exponent = np.frexp(values)
    expected = np.ldexp(np.rint(mantissa * 2**bits) / 2**bits, exponent)
    np.testing.assert_array_equal(stored_as(engine, storage, values), expected)


def test_subnormal_halves_round_to_nearest_even(engine):
    quarters = np.arange(4 * 1100) / 4 * 2.0**-24
    values = np.concatenate([quarters, -quarters])
    expected = values.astype(np.float16).astype(np.float64)
    np.testing.assert_array_equal(stored_as(engine, "float16", values), expected)


def test_stores_above_the_largest_number_are_infinite(engine):
    values = np.array([65519.0, 65520.0, 1e6, -65520.0, np.nan])
    expected = [65504.0, np.inf, np.inf, -np.inf, np.nan]
    np.testing.assert_array_equal(stored_as(engine, "float16", values), expected)
    values = np.array([np.finfo(np.float32).max, -np.finfo(np.float32).max, np.nan])
    np.testing.assert_array_equal(stored_as(engine, "bfloat16", values), [np.inf, -np.inf, np.nan])


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
def test_every_16_bit_number_survives_a_load_and_a_store(engine, storage):
    patterns = np.arange(2**16, dtype=np.uint16)
    numbers = (
        patterns.view(np.float16)
        if storage == "float16"
        else (patterns.astype(np.uint32) << 16).view(np.float32)
    )
    numbers = numbers[~np.isnan(numbers)].astype(np.float64)
    gates = np.zeros((1, 1, 4, numbers.size))
    gates[0, 0, 2] = -np.inf  # r = 0: h is the highway
    gates[0, 0, 3] = numbers
    given = make_sru(1, 1, numbers.size, num_gates=4, absent=("marks", "mask_c"), storage=storage)
    np.testing.assert_array_equal(replace(given, u=gates).forward(engine)["h"].ravel(), numbers)
