"""Several sequences in one row of the batch, or concatenated, give the same results as each alone."""

from dataclasses import replace

import numpy as np
import pytest

from .cases import START, GatedLinear, make_gated_linear, oracle_backward, oracle_forward
from .test_recurrence import STORAGES, assert_parity

SIZES = [(0, 5), (5, 7), (17, 33), (33, 70)]
LENGTHS = [[], [0], [0, 0, 3], [1, 0, 4, 9, 0], [30, 3, 3, 3], [3, 40, 1, 5]]


def with_starts(case: GatedLinear, share: float = 0.3, *, states: bool = True) -> GatedLinear:
    """The case with random marks, some of which do not mark a restart."""
    random = np.random.default_rng(2)
    marks = np.where(random.random(case.q.shape[:2]) < share, START + 4, 4 + 1).astype(np.uint8)
    s_reset = random.standard_normal((*case.q.shape[2:], case.v.shape[-1])) if states else None
    return replace(case, marks=marks, s_reset=s_reset)


def end_to_end(lengths: list[int], heads: int = 3, *sizes: int, **options: object) -> GatedLinear:
    """Concatenated sequences of these lengths."""
    case = make_gated_linear(sum(lengths), 1, heads, *sizes, **options)
    random, shape = np.random.default_rng(3), (len(lengths), heads, case.q.shape[-1], case.v.shape[-1])
    states = {name: random.standard_normal(shape) for name in ("s0", "grad_s")}
    return replace(case, **states, cu_seqlens=np.cumsum([0, *lengths]))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_parity_with_restarts(size, states, storage):
    assert_parity(with_starts(make_gated_linear(9, 2, 3, *size, storage=storage), states=states))


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("length", [0, 1, 8, 9])
def test_parity_with_any_share_of_restarts(length, share):
    assert_parity(with_starts(make_gated_linear(length, storage="float64"), share))


@pytest.mark.parametrize("name", ["q", "k", "v", "log_g", "s0", "s_reset"])
def test_oracle_gradients_match_complex_steps(name):
    case = with_starts(make_gated_linear(4, 2, 1, 3, 2, storage="float64"))
    given = getattr(case, name)

    def slope(index):
        perturbed = given.astype(complex)
        perturbed[index] += 1e-100j
        found = oracle_forward(replace(case, **{name: perturbed}))
        return ((found["o"] * case.grad_o).sum() + (found["s"] * case.grad_s).sum()).imag / 1e-100

    slopes = np.array([slope(index) for index in np.ndindex(given.shape)]).reshape(given.shape)
    grad = oracle_backward(case)[f"grad_{name}"]
    grad = grad.sum(0) if name == "s_reset" else grad
    np.testing.assert_allclose(grad, slopes, rtol=1e-12, atol=1e-12)


def assert_same_bits(got, expected, names):
    for name in names:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


OVER_TIME = ("o", "grad_q", "grad_k", "grad_v", "grad_log_g")


@pytest.mark.parametrize("storage", STORAGES)
def test_a_restart_equals_a_new_sequence(storage):
    """Bitwise."""
    case = make_gated_linear(12, 2, 3, 17, 33, segment_length=5, storage=storage)
    marks = np.zeros((12, 2), np.uint8)
    marks[7, 1] = START
    whole = replace(case, marks=marks).both()
    first = case.cut(slice(7), 1, s0=case.s0[1:], grad_s=None).both()
    second = case.cut(slice(7, None), 1, s0=None, grad_s=case.grad_s[1:]).both()
    for name in OVER_TIME:
        parts = np.concatenate([first[name], second[name]])
        np.testing.assert_array_equal(whole[name][:, 1:], parts, err_msg=name)
    np.testing.assert_array_equal(whole["s"][1:], second["s"])
    np.testing.assert_array_equal(whole["grad_s0"][1:], first["grad_s0"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["q", "k", "v", "s0", "grad_o"])
def test_non_finite_inputs_do_not_cross_a_restart(name, value):
    case = make_gated_linear(12, 2, 3, 17, 33, segment_length=5)
    marks = np.zeros((12, 2), np.uint8)
    marks[7] = START
    case = replace(case, marks=marks, s_reset=case.s0[0])
    given = getattr(case, name).copy()
    later = name == "grad_o"  # affects earlier steps
    given[0 if name == "s0" else 9 if later else 3] = value
    got, expected = replace(case, **{name: given}).both(), case.both()
    untouched = slice(7) if later else slice(7, None)
    for output in OVER_TIME:
        np.testing.assert_array_equal(got[output][untouched], expected[output][untouched], err_msg=output)
    assert_same_bits(got, expected, ["grad_s0"] if later else ["s", "grad_s_reset"])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_concatenated_sequences_equal_separate_ones(size, lengths, storage):
    """Bitwise."""
    case = end_to_end(lengths, 3, *size, storage=storage)
    got = case.both()
    for row, (begin, end) in enumerate(zip(case.cu_seqlens[:-1], case.cu_seqlens[1:], strict=True)):
        alone = case.cut(slice(begin, end), 0, s0=case.s0[row : row + 1], grad_s=case.grad_s[row : row + 1])
        expected = alone.both()
        for name in OVER_TIME:
            np.testing.assert_array_equal(got[name][begin:end], expected[name], err_msg=name)
        for name in ("s", "grad_s0"):
            np.testing.assert_array_equal(got[name][row : row + 1], expected[name], err_msg=name)
        first = begin // case.segment_length + row
        starts = got["starts"][first : first + len(expected["starts"])]
        np.testing.assert_array_equal(starts, expected["starts"])


@pytest.mark.parametrize("num_threads", [2, 3, 4])
@pytest.mark.parametrize("lengths", [[200, *[2] * 20], [*[3] * 20, 200], [50, 0, 50], [0, 0, 90, 0]], ids=str)
@pytest.mark.parametrize("heads", [1, 3])
def test_results_do_not_depend_on_the_number_of_threads(heads, lengths, num_threads):
    case = end_to_end(lengths, heads, 33, 150)
    assert_same_bits(case.both(num_threads=num_threads), case.both(), [*OVER_TIME, "s", "grad_s0"])


def test_more_threads_than_steps():
    case = end_to_end([0, 1, 1], 1, 4096, 16)  # large enough for a second thread
    assert_same_bits(case.both(num_threads=4), case.both(), [*OVER_TIME, "s", "grad_s0"])


def test_absent_states_are_zeros():
    case = end_to_end([3, 0, 5])
    without, zeros = replace(case, s0=None, grad_s=None), np.zeros_like(case.s0)
    expected = replace(case, s0=zeros, grad_s=zeros).both()
    assert_same_bits(without.both(), expected, [*OVER_TIME, "s", "grad_s0"])


WRONG = {
    "begin at 0, got 1": [1, 3, 8],
    "end at the number of positions, 8, got 7": [0, 3, 7],
    "not decrease, got 3 after 5": [0, 5, 3, 8],
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_offsets_are_refused(message):
    case = end_to_end([3, 5])
    starts = case.forward()["starts"]
    wrong = replace(case, cu_seqlens=np.array(WRONG[message]), s0=None, grad_s=None)
    with pytest.raises(ValueError, match=f"^gated_linear_forward: cu_seqlens must {message}"):
        wrong.forward()
    with pytest.raises(ValueError, match=f"^gated_linear_backward: cu_seqlens must {message}"):
        wrong.backward(starts)
