"""Restarts within a row, and concatenated sequences of different lengths, on every engine."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as draws
from hypothesis import settings
from hypothesis import strategies as st

from ...support.engines import BUT_FOR_RACES, cpu_engine
from .cases import make_sru
from .oracle import FIRST, PAD, SECOND, oracle_backward, oracle_forward
from .pieces import joined, make_ragged, one_by_one, pieces_of_row, sequences
from .test_recurrence import STORED, assert_all_close

LENGTHS = [3, 0, 7, 1, 0, 12]
DIRECTIONS = pytest.mark.parametrize("num_directions", [1, 2])
V_PER_POSITION = pytest.mark.parametrize("v_per_position", [False, True])


def assert_same_bits(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def expected_by_oracle(case):
    h, c, c_last = oracle_forward(case)
    return {"h": h, "c": c, "c_last": c_last, **oracle_backward(case)}


@DIRECTIONS
@V_PER_POSITION
@pytest.mark.parametrize("absent", [(), ("c0", "mask_c", "grad_c_last"), ("x",), ("marks",), ("c_reset",)])
def test_concatenated_sequences_agree_with_the_oracle(engine, absent, v_per_position, num_directions):
    options = {"num_directions": num_directions, "v_per_position": v_per_position, "storage": "float64"}
    given = make_ragged(LENGTHS, absent=absent, **options)
    expected = joined(given, [expected_by_oracle(sequence) for sequence in sequences(given)])
    assert_all_close(given.both(engine), expected, "float64")


@pytest.mark.parametrize("engine_name", BUT_FOR_RACES)
@DIRECTIONS
@pytest.mark.parametrize("storage", STORED)
@pytest.mark.parametrize("num_gates", [3, 4])
@pytest.mark.parametrize("hidden_size", [17, 24])
def test_concatenated_sequences_equal_separate_ones(engine, hidden_size, num_gates, storage, num_directions):
    options = {"num_directions": num_directions, "num_gates": num_gates, "storage": storage}
    given = make_ragged(LENGTHS, hidden_size, activation="tanh", **options)
    assert_same_bits(given.both(engine), one_by_one(given, engine))


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_without_positions_states_are_returned_unchanged(engine, lengths):
    given = make_ragged([*lengths, 1])
    given = replace(
        given,
        **{name: getattr(given, name)[:0] for name in ("u", "x", "marks", "grad_h")},
        **{name: getattr(given, name)[: len(lengths)] for name in ("c0", "mask_c", "grad_c_last")},
        cu_seqlens=given.cu_seqlens[:-1],
    )
    got = given.both(engine)
    exact = given.rounded()
    np.testing.assert_array_equal(got["c_last"], exact.c0)
    np.testing.assert_array_equal(got["grad_c0"], exact.grad_c_last)
    assert not got["grad_v"].any()
    assert not got["grad_bias"].any()
    assert not got["grad_c_reset"].any()


@pytest.mark.parametrize("engine_name", ["cpu"])
def test_sequences_wider_than_a_tile(engine):
    given = make_ragged([2, 0, 3], 2500, num_directions=2, storage="bfloat16")
    assert_same_bits(given.both(engine), one_by_one(given, engine))


@pytest.mark.parametrize("engine_name", BUT_FOR_RACES)
@V_PER_POSITION
@pytest.mark.parametrize("storage", STORED)
def test_a_row_with_restarts_equals_its_pieces(engine, storage, v_per_position):
    given = make_sru(23, 4, activation="tanh", storage=storage, v_per_position=v_per_position)
    whole = given.both(engine)
    for row in range(4):
        pieces = pieces_of_row(given.rounded(), row)
        expected = one_by_one(pieces, engine)
        assert len(pieces.cu_seqlens) > 3
        for name in ("h", "c", "grad_u", "grad_x", *(["grad_v"] if v_per_position else [])):
            np.testing.assert_array_equal(whole[name][:, row], expected[name], err_msg=name)
        np.testing.assert_array_equal(whole["c_last"][row], expected["c_last"][-1])
        from_c0, from_reset = expected["grad_c0"][0], expected["grad_c0"][1:].sum(0)
        if given.marks[0, row] & (FIRST | PAD) == FIRST:
            from_c0, from_reset = 0 * from_c0, from_c0 + from_reset
        np.testing.assert_array_equal(whole["grad_c0"][row], from_c0)
        sums = {"grad_c_reset": from_reset, "grad_bias": expected["grad_bias"].sum(1)}
        for name, value in sums.items():
            got = whole[name][..., row, :]
            np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_second_direction_restarts_like_the_first_in_reversed_time(engine):
    both = make_sru(9, 3, 16, num_directions=2)
    one = both.u.shape[-1] // 2
    second = {
        name: getattr(both, name)[..., one:]
        for name in ("u", "v", "bias", "c0", "c_reset", "x", "mask_c", "grad_h", "grad_c_last")
    }
    for name in ("u", "x", "grad_h"):
        second[name] = second[name][::-1]
    swapped = np.where(both.marks & SECOND, FIRST, 0) | both.marks & PAD
    alone = replace(both, **second, marks=swapped[::-1], num_directions=1).both(engine)
    for name, value in both.both(engine).items():
        got = value[..., one:]
        np.testing.assert_array_equal(got[::-1] if len(got) == 9 else got, alone[name], err_msg=name)


def test_a_restart_at_padding_has_no_effect(engine):
    given = make_sru(9, num_directions=2)
    marks = np.where(given.marks & PAD, np.uint8(PAD), given.marks)
    assert (marks != given.marks).any()
    assert_same_bits(replace(given, marks=marks).both(engine), given.both(engine))


def test_marks_of_zero_have_no_effect(engine):
    given = make_sru(absent=("marks",), num_directions=2)
    marks = np.zeros(given.u.shape[:2], np.uint8)
    assert_same_bits(replace(given, marks=marks).both(engine), given.both(engine))


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@DIRECTIONS
def test_nothing_crosses_a_restart(engine, num_directions, poison):
    half = np.zeros((8, 3), np.uint8)
    half[4], half[3] = FIRST, SECOND
    clean = replace(make_sru(8, num_directions=num_directions), marks=half)
    grad_h = clean.grad_h.copy()
    grad_h[:4] = 0
    clean = replace(clean, grad_h=grad_h, grad_c_last=None)
    size = clean.u.shape[-1] // num_directions
    got = clean.both(engine)
    assert not got["grad_u"][:4, ..., :size].any()
    assert not got["grad_c0"][:, :size].any()
    assert got["grad_c_reset"][:, :size].any()
    dirty = {name: getattr(clean, name).copy() for name in ("u", "x", "c0")}
    for array in (dirty["u"][:4], dirty["x"][:4], dirty["c0"][:, :size]):
        array[...] = poison
    poisoned = replace(clean, **dirty).forward(engine)
    for name in ("h", "c"):
        np.testing.assert_array_equal(poisoned[name][4:], got[name][4:])
    np.testing.assert_array_equal(poisoned["c_last"][:, :size], got["c_last"][:, :size])


@pytest.mark.parametrize("engine_name", ["cpu"])
@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([3, 5], "begin at 0, got 3"),
        ([-1, 5], "begin at 0, got -1"),
        ([0, 4], "end at the number of positions, 5, got 4"),
        ([0, 6], "end at the number of positions, 5, got 6"),
        ([0, 4, 3, 5], "not decrease, got 3 after 4"),
        ([0, 2**62, -(2**62), 5], "not decrease, got -4611686018427387904 after 4611686018427387904"),
        ([0], "end at the number of positions, 5, got 0"),
    ],
)
def test_wrong_offsets_are_refused_before_anything_is_written(engine, offsets, message):
    given = make_ragged([5])
    c = given.forward()["c"]
    wrong = replace(make_ragged([1] * (len(offsets) - 1)), cu_seqlens=np.array(offsets), u=given.u)
    written = {}

    def keep(kernel, fields, inputs, outputs, options):
        written.update(outputs)
        engine(kernel, fields, inputs, outputs, options)

    with pytest.raises(ValueError, match=f"^sru_forward: cu_seqlens must {message}$"):
        wrong.forward(keep)
    with pytest.raises(ValueError, match=f"^sru_backward: cu_seqlens must {message}$"):
        wrong.backward(c, keep)
    assert all(np.isnan(array).all() for array in written.values())


@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
@pytest.mark.parametrize("num_threads", [2, 3])
@pytest.mark.parametrize("lengths", [[3] * 25 + [3000] + [3] * 25, [700, 0, 20, 1300]])
def test_results_of_sequences_do_not_depend_on_the_number_of_threads(lengths, num_threads, storage):
    given = make_ragged(lengths, 33, num_directions=2, storage=storage)
    alone, several = given.both(), given.both(cpu_engine(num_threads))
    assert_same_bits(several, alone)
    for got, sequence in zip(several["c_last"], sequences(given), strict=True):
        if len(sequence.u) == max(lengths):
            np.testing.assert_array_equal(got, sequence.forward()["c_last"][0])


@settings(max_examples=30)
@draws(
    st.lists(st.integers(0, 40), min_size=1, max_size=6),
    st.integers(1, 70),
    st.integers(1, 5),
    st.sampled_from(list(STORED)),
)
def test_every_column_of_every_step_is_computed(lengths, hidden_size, num_threads, storage):
    # Wide enough that several threads share a sequence.
    given = make_ragged(lengths, 29 * hidden_size, storage=storage)
    assert_same_bits(given.both(cpu_engine(num_threads)), one_by_one(given))
