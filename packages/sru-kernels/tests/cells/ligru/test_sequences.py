"""Restarts within a row and concatenated sequences give the same results as separate sequences."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ...support.engines import cpu_engine
from .cases import FIRST, SECOND, make_ligru, make_ragged
from .test_recurrence import DIRECTIONS, NORM, assert_same_bits

LENGTHS = [[], [0, 0, 3], [3, 0, 7, 1, 0, 12], [1, 40, 2, 2, 40]]
OF_SEQUENCES = ("h_last", "grad_h0")


@NORM
@DIRECTIONS
@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_concatenated_sequences_equal_separate_ones(lengths, storage, num_directions, norm):
    case = make_ragged(lengths, 20, num_directions=num_directions, norm=norm, storage=storage)
    together = case.both()
    for number, (begin, end) in enumerate(pairwise(case.cu_seqlens)):
        alone = case.sequence(number)
        part = {
            name: array[number : number + 1] if name in OF_SEQUENCES else array[begin:end]
            for name, array in together.items()
        }
        assert_same_bits(part, alone.both(), alone)


@NORM
@pytest.mark.parametrize("num_threads", [2, 5])
def test_results_do_not_depend_on_the_number_of_threads(num_threads, norm):
    case = make_ragged([30, *[2] * 20, 0, 7], 100, norm=norm)
    assert_same_bits(case.both(cpu_engine(num_threads)), case.both(), case)


@NORM
def test_a_restart_equals_a_new_sequence(norm):
    """Bitwise, in both directions."""
    case = make_ligru(12, 1, 20, norm=norm)
    marks = np.zeros((12, 1), np.uint8)
    marks[7], marks[6] = FIRST, SECOND
    whole = replace(case, marks=marks).both()
    ends = replace(case, marks=None, u=case.u)
    columns = case.u.shape[-1]

    def cut(steps, states, grads):
        """Run some steps with an h0 and a grad_h_last per direction."""
        h0, last = (np.concatenate(parts)[None] for parts in (states, grads))
        arrays = {name: getattr(ends, name)[steps] for name in ("u", "grad_h")}
        return replace(ends, **arrays, h0=h0, grad_h_last=last).both()

    (h0, h1), (g0, g1) = np.split(case.h0[0], 2), np.split(case.grad_h_last[0], 2)
    reset, zeros = np.split(case.h_reset, 2), np.zeros(columns)
    first = cut(slice(7), (h0, reset[1]), (zeros, g1))
    second = cut(slice(7, None), (reset[0], h1), (g0, zeros))
    for name in ("h", "states", "grad_sums"):
        np.testing.assert_array_equal(whole[name], np.concatenate([first[name], second[name]]), err_msg=name)
    forward, backward = slice(columns), slice(columns, None)
    for name, of_forward, of_backward in [("h_last", second, first), ("grad_h0", first, second)]:
        np.testing.assert_array_equal(whole[name][:, forward], of_forward[name][:, forward])
        np.testing.assert_array_equal(whole[name][:, backward], of_backward[name][:, backward])
    np.testing.assert_array_equal(whole["grad_h_reset"][:, forward], second["grad_h0"][:, forward])
    np.testing.assert_array_equal(whole["grad_h_reset"][:, backward], first["grad_h0"][:, backward])


WRONG = {
    "begin at 0, got 1": [1, 3, 8],
    "end at the number of positions, 8, got 7": [0, 3, 7],
    "not decrease, got 3 after 5": [0, 5, 3, 8],
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_offsets_are_refused(message):
    case = make_ragged([3, 5])
    forward = case.forward()
    saved = {"products": forward["products"], "before": np.zeros((8, 1, 2, 5))}
    absent = dict.fromkeys(("h0", "mask_h", "grad_h_last"))
    wrong = replace(case, cu_seqlens=np.array(WRONG[message]), **absent)
    with pytest.raises(ValueError, match=f"^ligru_forward: cu_seqlens must {message}"):
        wrong.forward()
    with pytest.raises(ValueError, match=f"^ligru_backward: cu_seqlens must {message}"):
        wrong.backward(saved)
