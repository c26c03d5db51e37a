"""CUDA launches: results do not depend on the columns per thread, and the grid suits the GPU."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ...support.engines import GPU, ON_PTX, ON_SOURCES
from .cases import make_sru
from .pieces import columns_of, first_columns, make_ragged
from .test_team import FORWARD

STORAGES = ["float32", "float64", "float16", "bfloat16"]
READS_RINGS = pytest.mark.parametrize("engine_name", [*ON_SOURCES, ON_PTX[-1], GPU])  # not sm_75
SHAPE = {"length": 1, "num_gates": 3, "scale_x": 1.0, "v_per_position": False}


def assert_same_bits(got, expected):
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def both(given, engine, **options):
    forward = given.forward(engine, **options)
    return forward | given.backward(forward["c"], engine, **options)


def few_marks(case):
    """The case with marks at a few positions only, so that whole groups of steps have none."""
    positions = np.arange(len(case.u)).reshape(-1, *[1] * (case.marks.ndim - 1))
    return replace(case, marks=np.where(positions % 16 < 6, case.marks, 0).astype(np.uint8))


@READS_RINGS
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    ("num_gates", "activation", "absent"),
    [(3, "tanh", ()), (4, "relu", ("c0", "grad_h", "c_reset")), (3, "identity", ("x", "marks", "mask_c"))],
)
def test_results_do_not_depend_on_the_ring(engine, absent, num_gates, activation, storage):
    options = {"num_directions": 2, "num_gates": num_gates, "activation": activation, "storage": storage}
    given = make_sru(43, 2, 33, absent=absent, **options)
    if given.marks is not None:
        given = few_marks(given)
    in_registers = both(given, engine)
    in_ring = both(first_columns(given, 32), engine)
    assert_same_bits(in_ring, {name: columns_of(value, 2, 32) for name, value in in_registers.items()})


@READS_RINGS
@pytest.mark.parametrize("storage", STORAGES)
def test_results_of_sequences_do_not_depend_on_the_ring(engine, storage):
    given = few_marks(make_ragged([5, 0, 39, 1, 4], 33, num_directions=2, activation="tanh", storage=storage))
    in_registers = both(given, engine)
    in_ring = both(first_columns(given, 32), engine)
    assert_same_bits(in_ring, {name: columns_of(value, 2, 32) for name, value in in_registers.items()})


@pytest.mark.parametrize("engine_name", [*ON_SOURCES, ON_PTX[-1]])
@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_results_do_not_depend_on_the_length_of_the_ring(engine, storage, monkeypatch):
    """More steps than the longest ring holds, in blocks of one warp and of four."""
    given = few_marks(make_sru(90, 1, 32, storage=storage))
    in_small_blocks = both(given, engine)
    monkeypatch.setitem(engine.machine, "CUSHIM_MULTIPROCESSORS", "1")
    assert_same_bits(both(given, engine), in_small_blocks)


@READS_RINGS
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("num_gates", "activation"), [(3, "tanh"), (4, "relu")])
def test_results_do_not_depend_on_columns_per_thread(engine, num_gates, activation, storage):
    options = {"num_directions": 2, "num_gates": num_gates, "activation": activation, "storage": storage}
    given = few_marks(make_sru(11, 1, 256, **options))
    wide = both(given, engine, columns_per_thread=given.widest())
    assert_same_bits(both(given, engine, columns_per_thread=1), wide)


@READS_RINGS
@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_results_of_sequences_do_not_depend_on_columns_per_thread(engine, storage):
    given = few_marks(make_ragged([5, 0, 9], 256, storage=storage))
    wide = both(given, engine, columns_per_thread=given.widest())
    assert_same_bits(both(given, engine, columns_per_thread=1), wide)


@pytest.mark.parametrize("engine_name", [ON_SOURCES[0]])
@pytest.mark.parametrize("offsets", [[-3, 2, 5], [0, 9, 5], [1, 7, -1], [5, 5, 2**62], [-9, -2, -1]])
def test_wrong_offsets_touch_no_other_memory(engine, offsets):
    """Offsets on a GPU cannot be checked without synchronizing; the address sanitizer catches violations."""
    given = make_ragged([2, 3], 4, num_directions=2)
    c = given.forward()["c"]
    wrong = replace(given, cu_seqlens=np.array(offsets))
    assert np.isfinite(wrong.forward(engine)["c_last"]).all()
    assert np.isfinite(wrong.backward(c, engine)["grad_c0"]).all()


def launched(worker, storage, batch, hidden_size, multiprocessors, *, shift=0, machine=None, **changes):
    """The launcher's choices: columns per thread or threads per team, ring or not, blocks, threads."""
    fields = {**SHAPE, "batch": batch, "hidden_size": hidden_size, "num_directions": 1, **changes}
    large_enough = np.zeros(
        fields["length"] * batch * 3 * fields["num_directions"] * hidden_size * 8, np.uint8
    )
    worker.request(
        *("launch", "sru_forward", {**fields, "dtype": storage, "activation": "identity"}),
        *(dict.fromkeys(("u", "v", "bias"), large_enough), dict.fromkeys(("h", "c_last"), large_enough)),
        **{"device": 0, "stream": 0, "columns_per_thread": 0, "shift": shift},
        environment={"CUSHIM_MULTIPROCESSORS": str(multiprocessors), **(machine or {})},
    )
    name, blocks, threads = worker.request("last_launch")
    columns, in_ring = re.search(r"Li(\d+)E(?:Lb([01])E)?", name).groups()
    return int(columns), in_ring == "1", blocks, threads


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("storage", "width"), [("float32", 4), ("float64", 2), ("float16", 8), ("bfloat16", 8)]
)
def test_a_thread_computes_several_columns_if_there_are_enough(workers, storage, width):
    worker = workers("ptx-120")
    assert launched(worker, storage, 2, 64 * width, 1) == (width, True, 1, 128)
    assert launched(worker, storage, 2, 64 * width, 2)[0] == 1
    assert launched(worker, storage, 8, 16 * width, 1)[0] == 1
    assert launched(worker, storage, 2, 64 * width, 1, shift=8)[0] == 1


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("changes", "in_ring"),
    [
        ({}, True),
        ({"hidden_size": 33}, False),
        ({"shift": 8}, False),
        ({"v_per_position": True}, False),
        ({"machine": {"CUSHIM_COMPUTE_CAPABILITY": "75"}}, False),
    ],
)
def test_a_ring_is_used_if_it_fits(workers, changes, in_ring):
    given = {"storage": "float32", "batch": 1, "hidden_size": 32, "multiprocessors": 1, **changes}
    assert launched(workers("ptx-120"), **given)[:2] == (1, in_ring)


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("multiprocessors", "blocks", "threads"), [(2, 2, 128), (3, 4, 64), (5, 8, 32), (100, 8, 32)]
)
def test_blocks_shrink_if_there_would_be_too_few(workers, multiprocessors, blocks, threads):
    assert launched(workers("ptx-120"), "float32", 4, 63, multiprocessors)[2:] == (blocks, threads)


@pytest.mark.cuda
def test_a_block_has_columns_of_one_direction(workers):
    assert launched(workers("ptx-120"), "float32", 1, 33, 1, num_directions=2)[2:] == (2, 128)


@pytest.mark.cuda
def test_teams_are_used_if_there_are_few_columns(workers):
    worker = workers("ptx-120")
    assert launched(worker, "float32", 2, 47, 1, length=16) == (FORWARD, False, 4, 160)
    assert launched(worker, "float32", 1, 33, 1, length=16, num_directions=2) == (FORWARD, False, 4, 160)
    assert launched(worker, "float32", 1, 96, 2, length=16)[0] == FORWARD
    assert launched(worker, "float32", 1, 96, 1, length=16)[0] == 1
    assert launched(worker, "float32", 2, 47, 1, length=15)[0] == 1
    assert launched(worker, "float32", 2, 47, 1, length=16, v_per_position=True)[0] == 1
