"""CUDA launches: the columns per thread do not change results, and the grid fits the GPU."""

from dataclasses import replace

import numpy as np
import pytest

from ...support.engines import GPU, ON_PTX, ON_SOURCES
from .cases import make_sru
from .pieces import make_ragged

STORAGES = ["float32", "float64", "float16", "bfloat16"]
SHAPE = {"length": 1, "num_gates": 3, "scale_x": 1.0, "v_per_position": False}


@pytest.mark.parametrize("engine_name", [*ON_SOURCES, *ON_PTX, GPU])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
@pytest.mark.parametrize("num_gates", [3, 4])
@pytest.mark.parametrize("columns_per_thread", [0, 1])
def test_columns_per_thread_do_not_change_a_bit(engine, columns_per_thread, num_gates, activation, storage):
    options = {"num_directions": 2, "activation": activation, "storage": storage}
    given = make_sru(7, 2, 16, num_gates=num_gates, **options)
    assert given.widest() > 1
    wide = given.forward(engine)
    wide |= given.backward(wide["c"], engine)
    got = given.forward(engine, columns_per_thread=columns_per_thread)
    got |= given.backward(wide["c"], engine, columns_per_thread=columns_per_thread)
    for name, value in wide.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


@pytest.mark.parametrize("engine_name", [*ON_SOURCES, *ON_PTX, GPU])
@pytest.mark.parametrize("storage", STORAGES)
def test_columns_per_thread_do_not_change_a_bit_of_sequences(engine, storage):
    given = make_ragged([5, 0, 9], 16, num_directions=2, storage=storage)
    wide = given.forward(engine)
    wide |= given.backward(wide["c"], engine)
    got = given.forward(engine, columns_per_thread=1)
    got |= given.backward(wide["c"], engine, columns_per_thread=1)
    for name, value in wide.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


@pytest.mark.parametrize("engine_name", [ON_SOURCES[0]])
@pytest.mark.parametrize("offsets", [[-3, 2, 5], [0, 9, 5], [1, 7, -1], [5, 5, 2**62], [-9, -2, -1]])
def test_wrong_offsets_touch_no_other_memory(engine, offsets):
    """A GPU cannot refuse them without waiting for it; the address sanitizer ends the process on an error."""
    given = make_ragged([2, 3], 4, num_directions=2)
    c = given.forward()["c"]
    wrong = replace(given, cu_seqlens=np.array(offsets))
    assert np.isfinite(wrong.forward(engine)["c_last"]).all()
    assert np.isfinite(wrong.backward(c, engine)["grad_c0"]).all()


@pytest.mark.parametrize("engine_name", [*ON_SOURCES, *ON_PTX, GPU])
@pytest.mark.parametrize("team", [False, True])
def test_rows_start_in_the_order_that_is_given(engine, team):
    def run(given):
        options = [{"columns_per_thread": 1, "threads_per_column": n if team else 1} for n in (5, 8)]
        return given.forward(engine, **options[0]) | given.backward(c, engine, **options[1])

    given = make_ragged([5, 0, 9, 2], 33, num_directions=2)
    c = given.forward()["c"]
    expected = run(given)
    for name, value in run(replace(given, order=np.array([2, 0, 3, 1]))).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    # A row that is left out is not computed. A GPU cannot refuse what is no permutation.
    for wrong in ([2, 2, 2, 2], [2, 2**62, 3, 3], [2, -1, -(2**62), 0]):
        got = run(replace(given, order=np.array(wrong)))
        rows = sorted(set(np.clip(wrong, 0, 3)))
        np.testing.assert_array_equal(got["c_last"][rows], expected["c_last"][rows])
        np.testing.assert_array_equal(got["grad_c0"][rows], expected["grad_c0"][rows])
        assert np.isnan(np.delete(got["c_last"], rows, 0)).all()
        assert np.isnan(np.delete(got["grad_c0"], rows, 0)).all()


def launched(
    worker, storage, batch, hidden_size, multiprocessors, num_directions=1, shift=0, **options
):
    """The columns per thread or the team, the blocks and the threads of a block that the launcher chooses."""
    columns = num_directions * hidden_size
    size = {"batch": batch, "hidden_size": hidden_size, "num_directions": num_directions, **options}
    large_enough = np.zeros(size.get("length", 1) * batch * 3 * columns * 8, np.uint8)
    worker.request(
        *("launch", "sru_forward", {**SHAPE, **size, "dtype": storage, "activation": "identity"}),
        *(dict.fromkeys(("u", "v", "bias"), large_enough), dict.fromkeys(("h", "c_last"), large_enough)),
        **{"device": 0, "stream": 0, "columns_per_thread": 0, "shift": shift},
        environment={"CUSHIM_MULTIPROCESSORS": str(multiprocessors)},
    )
    name, blocks, threads = worker.request("last_launch")
    return int(name.partition("Li")[2].partition("E")[0]), blocks, threads


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("storage", "width"), [("float32", 4), ("float64", 2), ("float16", 8), ("bfloat16", 8)]
)
def test_a_thread_takes_more_columns_once_there_are_enough_of_them(workers, storage, width):
    worker = workers("ptx-120")
    assert launched(worker, storage, 2, 64 * width, 1) == (width, 1, 128)
    assert launched(worker, storage, 2, 64 * width, 2)[0] == 1
    assert launched(worker, storage, 2, 64 * width + 1, 1)[0] == 1
    assert launched(worker, storage, 2, 64 * width, 1, shift=8)[0] == 1


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("multiprocessors", "blocks", "threads"), [(2, 2, 128), (3, 4, 64), (5, 8, 32), (100, 8, 32)]
)
def test_blocks_are_smaller_where_there_would_be_too_few(workers, multiprocessors, blocks, threads):
    assert launched(workers("ptx-120"), "float32", 4, 63, multiprocessors) == (1, blocks, threads)


@pytest.mark.cuda
def test_a_team_shares_a_column_where_there_are_few(workers):
    worker = workers("ptx-120")
    assert launched(worker, "float32", 3, 85, 1, length=16) == (5, 9, 160)
    assert launched(worker, "float32", 1, 66, 1, num_directions=2, length=16) == (5, 6, 160)
    assert launched(worker, "float32", 1, 256, 1, length=16)[0] == 4
    assert launched(worker, "float32", 1, 256, 2, length=16)[0] == 5
    assert launched(worker, "float32", 3, 85, 1, length=15)[0] == 1
    assert launched(worker, "float32", 3, 85, 1, length=16, v_per_position=True)[0] == 1


@pytest.mark.cuda
def test_no_block_holds_columns_of_both_directions(workers):
    assert launched(workers("ptx-120"), "float32", 1, 33, 1, num_directions=2) == (1, 2, 128)
