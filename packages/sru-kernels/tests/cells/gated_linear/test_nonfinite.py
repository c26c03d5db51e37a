"""Non-finite inputs affect only the rows and columns of the state that they enter, and no earlier step.

Whether an affected number is infinite or NaN is unspecified, since 0 · ∞ depends on rounding.
"""

from dataclasses import replace

import numpy as np
import pytest

from .cases import make_gated_linear

STEP, STATE, KEY, VALUE = 3, (1, 2), 4, 6  # the last row and column, next to their padding
PLACES = {
    "q": (STEP, *STATE, KEY),
    "k": (STEP, *STATE, KEY),
    "v": (STEP, *STATE, VALUE),
    "s0": (*STATE, KEY, VALUE),
    "grad_o": (STEP, *STATE, VALUE),
    "grad_s": (*STATE, KEY, VALUE),
}
# The parts of the outputs of that state, (T, size) or (K, V), that become infinite or NaN.
LATER, EARLIER, ALL = slice(STEP, None), slice(None, STEP + 1), slice(None)
REACHED = {
    "q": {"o": (STEP, ALL)},
    "k": {"o": (LATER, ALL), "s": (KEY, ALL)},
    "v": {"o": (LATER, VALUE), "s": (ALL, VALUE)},
    "s0": {"o": (ALL, VALUE), "s": (KEY, VALUE)},
    "grad_o": {"grad_v": (EARLIER, VALUE), "grad_k": (EARLIER, ALL), "grad_s0": (ALL, VALUE)},
    "grad_s": {"grad_v": (ALL, VALUE), "grad_k": (ALL, KEY), "grad_s0": (KEY, VALUE)},
}


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_non_finite_inputs_affect_exactly_their_dependents(name, value, storage):
    clean = make_gated_linear(storage=storage)
    given = getattr(clean, name).copy()
    given[PLACES[name]] = value
    results, expected = replace(clean, **{name: given}).both(), clean.both()
    for output in ("o", "s", "grad_v", "grad_k", "grad_s0"):
        axes = (0, 1) if output in ("s", "grad_s0") else (1, 2)  # batch and heads
        got, wanted = (np.moveaxis(array[output], axes, (0, 1)) for array in (results, expected))
        reached = np.zeros(got.shape[2:], bool)
        if output in REACHED[name]:
            reached[REACHED[name][output]] = True
            assert not np.isfinite(got[STATE][reached]).any(), output
        elif name in ("q", "k", "v", "s0") and output.startswith("grad"):
            reached[...] = True  # the gradient depends on it
        np.testing.assert_array_equal(got[STATE][~reached], wanted[STATE][~reached], err_msg=output)
        others = [state for state in np.ndindex(got.shape[:2]) if state != STATE]
        for state in others:
            np.testing.assert_array_equal(got[state], wanted[state], err_msg=output)
