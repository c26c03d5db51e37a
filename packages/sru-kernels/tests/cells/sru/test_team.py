"""Teams on a GPU: threads that share a column give the same results as a single thread."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from ...support.engines import GPU, ON_PTX, ON_SOURCES
from .cases import make_sru
from .oracle import FIRST, PAD, SECOND, oracle_backward, oracle_forward
from .pieces import make_ragged
from .test_recurrence import STORED, assert_all_close
from .test_sequences import assert_same_bits

EVERYWHERE = pytest.mark.parametrize("engine_name", [*ON_SOURCES, *ON_PTX, GPU])
# Without the race detector, which takes seconds per team, and with one architecture, as all share the source.
ON_GPU = pytest.mark.parametrize("engine_name", [ON_SOURCES[0], ON_PTX[1], GPU])
FORWARD, BACKWARD = 5, 8  # threads per team
# Tiles have 16 steps forward and 24 backward, blocks 32 columns.
OPTIONS = [
    {"num_gates": 4, "activation": "relu"},
    {"absent": ("c0", "x", "mask_c", "marks", "c_reset", "grad_h", "grad_c_last")},
    {"absent": ("x", "c0", "c_reset"), "activation": "tanh"},
]


def forward(case, engine):
    return case.forward(engine, columns_per_thread=1, threads_per_column=FORWARD)


def backward(case, c, engine, **options):
    return case.backward(c, engine, columns_per_thread=1, threads_per_column=BACKWARD, **options)


@functools.cache
def oracle():
    """A case and the oracle's outputs and gradients."""
    given = make_sru(37, 1, 33, num_directions=2, storage="float64", activation="tanh", scale_x=1.7)
    h, c, c_last = oracle_forward(given)
    return given, {"h": h, "c": c, "c_last": c_last}, oracle_backward(given)


@EVERYWHERE
def test_a_team_agrees_with_the_oracle(engine):
    given, outputs, gradients = oracle()
    assert_all_close(forward(given, engine), outputs, "float64")
    assert_all_close(backward(given, outputs["c"], engine), gradients, "float64")


def assert_a_team_agrees_with_one_thread(given, engine):
    alone = given.forward(engine, columns_per_thread=1)
    assert_same_bits(forward(given, engine), alone)
    expected = given.backward(alone["c"], engine, columns_per_thread=1)
    assert_all_close(backward(given, alone["c"], engine), expected, given.storage)


@pytest.mark.parametrize("storage", STORED)
@pytest.mark.parametrize("options", OPTIONS)
@ON_GPU
def test_a_team_agrees_with_one_thread(engine, options, storage):
    assert_a_team_agrees_with_one_thread(make_sru(65, 1, 40, storage=storage, **options), engine)


@pytest.mark.parametrize("length", [0, 1, 16, 24])
@ON_GPU
def test_a_team_with_few_steps(engine, length):
    assert_a_team_agrees_with_one_thread(make_sru(length, 2, 5, num_directions=2), engine)


@EVERYWHERE
def test_a_team_with_concatenated_sequences(engine):
    given = make_ragged([40, 0, 33], 9, num_directions=2, storage="float64")
    assert_a_team_agrees_with_one_thread(given, engine)


@ON_GPU
def test_a_team_that_saves_no_states(engine):
    given = make_sru(25)
    options = {"columns_per_thread": 1, "threads_per_column": FORWARD}
    kept, dropped = forward(given, engine), given.forward(engine, keep_states=False, **options)
    assert_same_bits(dropped, {name: kept[name] for name in ("h", "c_last")})


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@ON_GPU
def test_no_gradient_crosses_a_restart(engine, poison):
    """The restart and the non-finite gradients after it lie in different slices, and in different tiles."""
    marks = np.zeros((70, 3), np.uint8)
    for row, start in enumerate([3, 31, 40]):
        marks[start, row], marks[69 - start, row] = FIRST, SECOND
    clean = replace(make_sru(70, 3, 33, num_directions=2), marks=marks)
    c = clean.forward()["c"]
    expected = backward(clean, c, engine)
    grad_c_last, grad_h = clean.grad_c_last.copy(), clean.grad_h.copy()
    grad_c_last[...] = poison
    for row, start in enumerate([3, 31, 40]):
        grad_h[start:, row, :33] = grad_h[: 70 - start, row, 33:] = poison
    got = backward(replace(clean, grad_c_last=grad_c_last, grad_h=grad_h), c, engine)
    for row, start in enumerate([3, 31, 40]):
        for name in ("grad_u", "grad_x"):
            for own, before in ((slice(33), slice(start)), (slice(33, None), slice(70 - start, None))):
                np.testing.assert_array_equal(
                    got[name][before, row, ..., own], expected[name][before, row, ..., own]
                )
    np.testing.assert_array_equal(got["grad_c0"], expected["grad_c0"])
    assert not np.isfinite(got["grad_c_reset"]).any()


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@ON_GPU
def test_values_at_padding_have_no_effect(engine, poison):
    clean = make_sru(40, 3, num_directions=2)
    pad = clean.marks & PAD != 0
    dirty = {name: getattr(clean, name).copy() for name in ("u", "x", "grad_h")}
    for array in dirty.values():
        array[pad] = poison
    poisoned = replace(clean, **dirty)
    expected = forward(clean, engine)
    assert_same_bits(forward(poisoned, engine), expected)
    assert_same_bits(backward(poisoned, expected["c"], engine), backward(clean, expected["c"], engine))


@ON_GPU
def test_nan_affects_all_its_dependents(engine):
    """A team multiplies factors before it has the gradient; a factor of 0 must not hide a NaN."""
    given = make_sru(70, 1, 33, absent=("marks",))
    u = given.u.copy()
    u[:64, :, 1] = -60.0  # close the gate for 64 steps: the gradient of later steps vanishes
    grad_h = given.grad_h.copy()
    grad_h[66] = np.nan
    given = replace(given, u=u, grad_h=grad_h)
    got = backward(given, given.forward()["c"], engine)
    assert np.isnan(got["grad_u"][:67, :, 1]).all()
    assert np.isnan(got["grad_c0"]).all()
    assert np.isfinite(got["grad_u"][67:]).all()


@pytest.mark.parametrize("name", ["grad_x", "grad_c_reset"])
@ON_GPU
def test_gradients_do_not_depend_on_which_are_computed(engine, name):
    given = make_sru(25)
    c = given.forward()["c"]
    wanted, others = backward(given, c, engine), backward(given, c, engine, without=(name,))
    assert others.keys() == wanted.keys() - {name}
    assert_same_bits(others, {other: wanted[other] for other in others})


def in_order(engine, given, c, is_team, order=None):
    """The results with rows started in an order."""
    given = replace(given, order=None if order is None else np.array(order))
    options = [
        {"columns_per_thread": 1, "threads_per_column": n if is_team else 1} for n in (FORWARD, BACKWARD)
    ]
    return given.forward(engine, **options[0]) | given.backward(c, engine, **options[1])


@pytest.mark.parametrize("is_team", [False, True])
@ON_GPU
def test_results_do_not_depend_on_the_order_of_rows(engine, is_team):
    given = make_ragged([5, 0, 9, 2], 33, num_directions=2)
    c = given.forward()["c"]
    expected = in_order(engine, given, c, is_team)
    assert_same_bits(in_order(engine, given, c, is_team, [2, 0, 3, 1]), expected)


@pytest.mark.parametrize("is_team", [False, True])
@pytest.mark.parametrize("engine_name", [ON_SOURCES[0]])
@pytest.mark.parametrize("order", [[2, 2, 2, 2], [2, 2**62, 3, 3], [2, -1, -(2**62), 0]])
def test_rows_missing_from_the_order_are_not_computed(engine, order, is_team):
    """The host cannot check for a permutation on a GPU; the address sanitizer catches violations."""
    given = make_ragged([5, 0, 9, 2], 4)
    c = given.forward()["c"]
    expected, got = in_order(engine, given, c, is_team), in_order(engine, given, c, is_team, order)
    rows = sorted(set(np.clip(order, 0, 3)))
    for name in ("c_last", "grad_c0"):
        np.testing.assert_array_equal(got[name][rows], expected[name][rows])
        assert np.isnan(np.delete(got[name], rows, 0)).all()
