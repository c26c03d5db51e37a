"""NaN and infinite inputs affect only their own column, and no earlier step, on every engine.

NaN propagates to everything that depends on it. An infinite pre-activation opens or closes its gate exactly.
An infinite candidate or state makes all later states infinite or NaN; which of the two is unspecified, since
0 · ∞ depends on whether a nearly closed gate rounds to 0. The outputs of such states are unspecified, too.
"""

from dataclasses import replace

import numpy as np
import pytest

from ...support.engines import GPU, ON_PTX
from .cases import make_sru
from .oracle import oracle_backward, oracle_forward

STEP, ROW, COLUMN = 2, 1, 4
PLACES = {"u_c": ("u", 0), "u_f": ("u", 1), "u_r": ("u", 2), "x": ("x",), "c0": ("c0",)}
# Without the sanitizers, which find no more here than with finite numbers.
pytestmark = pytest.mark.parametrize("engine_name", ["cpu", ON_PTX[-1], GPU])
ACTIVATIONS = pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
INFINITE = pytest.mark.parametrize("value", [np.inf, -np.inf])


def poisoned(case, name, value):
    """The inputs with `value` at one step (c0: before the first) of one column."""
    array, *gate = PLACES[name]
    given = getattr(case, array).copy()
    given[(ROW, COLUMN) if name == "c0" else (STEP, ROW, *gate, COLUMN)] = value
    return replace(case, **{array: given})


def both(case, engine):
    """The outputs and every gradient, and their parts in the poisoned column, (steps, ...) or (...)."""
    forward = case.forward(engine)
    results = {**forward, **case.backward(forward["c"], engine)}
    return results, {name: array[..., ROW, COLUMN] for name, array in results.items() if name != "grad_u"} | {
        "grad_u": results["grad_u"][:, ROW, :, COLUMN]
    }


def assert_other_columns_are_the_same(got, expected):
    for name, value in expected.items():
        touched = np.zeros(value.shape, bool)
        touched[(slice(None), ROW, slice(None), COLUMN) if name == "grad_u" else (..., ROW, COLUMN)] = True
        np.testing.assert_array_equal(got[name][~touched], value[~touched], err_msg=name)


@ACTIVATIONS
@pytest.mark.parametrize(
    ("name", "absent"),
    [*((name, ()) for name in PLACES), *((name, ("x",)) for name in PLACES if name != "x")],
)
def test_nan_affects_exactly_its_dependents(engine, name, absent, activation):
    clean = make_sru(absent=("marks", *absent), activation=activation)
    got, column = both(poisoned(clean, name, np.nan), engine)
    expected, clean_column = both(clean, engine)
    assert_other_columns_are_the_same(got, expected)
    first = 0 if name == "c0" else STEP
    for array in ("c", "h"):
        np.testing.assert_array_equal(column[array][:first], clean_column[array][:first])
    if name in ("u_r", "x"):
        np.testing.assert_array_equal(column["c"], clean_column["c"])
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(column["h"])), [STEP])
    else:
        assert np.isnan(column["c"][first:]).all()
        assert np.isnan(column["h"][first:]).all()
        assert np.isnan(column["c_last"])
        assert np.isnan(column["grad_c0"])


@ACTIVATIONS
@INFINITE
@pytest.mark.parametrize("name", ["u_f", "u_r"])
def test_an_infinite_gate_is_open_or_closed(engine, name, value, activation):
    given = poisoned(make_sru(absent=("marks",), activation=activation), name, value)
    got, _ = both(given, engine)
    exact = poisoned(given, name, np.copysign(1e4, value)).rounded()  # saturates exactly in the oracle
    expected = dict(zip(("h", "c", "c_last"), oracle_forward(exact), strict=True)) | oracle_backward(exact)
    for array, wanted in expected.items():
        np.testing.assert_allclose(got[array], wanted, rtol=1e-5, atol=1e-5, err_msg=array)


@pytest.mark.parametrize("activation", ["identity", "tanh"])
@INFINITE
@pytest.mark.parametrize("gate", [-200.0, -20.0, 0.0, 20.0, 200.0])
@pytest.mark.parametrize("name", ["u_c", "c0"])
def test_an_infinite_state_stays_non_finite(engine, name, gate, value, activation):
    case = make_sru(absent=("marks",))
    u = case.u.copy()
    u[:, :, 1] = gate  # open, closed, or so nearly that only one of f and 1 − f is rounded
    clean = replace(case, u=u, activation=activation)
    got, column = both(poisoned(clean, name, value), engine)
    expected, clean_column = both(clean, engine)
    assert_other_columns_are_the_same(got, expected)
    first = 0 if name == "c0" else STEP
    np.testing.assert_array_equal(column["c"][:first], clean_column["c"][:first])
    np.testing.assert_array_equal(column["h"][:first], clean_column["h"][:first])
    for array in (column["c"][first:], column["c_last"], column["grad_c0"], column["grad_u"][first:, 1]):
        assert not np.isfinite(array).any()


@INFINITE
def test_an_infinite_highway_affects_one_output(engine, value):
    clean = make_sru(absent=("marks",))
    got, column = both(poisoned(clean, "x", value), engine)
    expected, clean_column = both(clean, engine)
    assert_other_columns_are_the_same(got, expected)
    np.testing.assert_array_equal(column["c"], clean_column["c"])
    np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(column["h"])), [STEP])
