"""The chunked CUDA kernels of the gated linear recurrence against the NumPy oracle."""

from dataclasses import replace

import numpy as np
import pytest

from sru_kernels import DType

from ...support.engines import GPU, ON_PTX, ON_SOURCES
from .cases import START, make_gated_linear
from .test_pieces import OVER_TIME, assert_same_bits, end_to_end, with_starts
from .test_recurrence import assert_parity

ON_ALL = pytest.mark.parametrize("engine_name", [*ON_SOURCES, *ON_PTX, GPU])
ON_ONE = pytest.mark.parametrize("engine_name", [ON_PTX[-1], GPU])
# Full and partial warps and blocks, one warp or several, rows copied 16 bytes at a time or not.
CASES = [
    *((1, 1, "float64"), (5, 7, "float32"), (3, 70, "bfloat16"), (32, 64, "float16"), (64, 20, "float64")),
    *((32, 64, "float32"), (5, 7, "bfloat16")),
]


@ON_ALL
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, engine):
    size, storage = case[:2], case[2]
    case = make_gated_linear(21, 1, 2, *size, segment_length=19, storage=storage)
    assert_parity(with_starts(case, 0.1), engine)


# Heads, and the threads per block of the forward and backward kernels on tensor cores; None if they use none.
TENSOR_CASES = {
    (5, 7, "float32"): (32, 64),
    (17, 33, "float16"): (32, 160),
    (16, 64, "bfloat16"): (32, 160),
    (64, 64, "float32"): (32, 256),
    (64, 100, "bfloat16"): (64, None),
    (128, 36, "float32"): (None, None),
}


@pytest.mark.parametrize("engine_name", [*ON_SOURCES, ON_PTX[-1], GPU])
@pytest.mark.parametrize("case", TENSOR_CASES, ids=str)
def test_parity_on_tensor_cores(case, engine, engine_name, on_a_gpu_for_data_centers):
    *size, storage = case
    threads = TENSOR_CASES[case]
    case = make_gated_linear(21, 1, 2, *size, segment_length=19, storage=storage)
    assert_parity(with_starts(case, 0.1), engine)
    if engine_name.startswith("ptx"):
        starts = case.forward(engine)["starts"]
        assert_is_on_tensor_cores(engine, threads[0])
        case.backward(starts, engine)
        assert_is_on_tensor_cores(engine, threads[1])


def assert_is_on_tensor_cores(engine, threads):
    """Assert that the last kernel used tensor cores in blocks of `threads`; with None, that it did not."""
    name, _, found = engine.request("last_launch")
    assert ("Lb1E" in name, found if threads else None) == (threads is not None, threads)


@pytest.fixture
def on_a_gpu_for_data_centers(engine):
    """A machine with compute capability 9.0, whose tensor cores multiply floats fast."""
    machine = getattr(engine, "machine", {})
    machine["CUSHIM_COMPUTE_CAPABILITY"] = "90"
    yield
    del machine["CUSHIM_COMPUTE_CAPABILITY"]


@pytest.fixture(params=["graphics", "data centers"])
def on_each_kind_of_gpu(request):
    """Machines without and with tensor cores that multiply floats fast."""
    if request.param == "data centers":
        request.getfixturevalue("on_a_gpu_for_data_centers")


@ON_ONE
@pytest.mark.parametrize("size", [(0, 5), (5, 0), (128, 64), (17, 33)])
@pytest.mark.parametrize("absent", [(), ("s0", "grad_o", "grad_s")])
def test_parity_without_optional_inputs(absent, size, engine, on_each_kind_of_gpu):
    assert_parity(make_gated_linear(9, 1, 1, *size, segment_length=100, absent=absent), engine)


@ON_ONE
@pytest.mark.parametrize("length", [0, 1, 16, 33])
@pytest.mark.parametrize("segment_length", [1, 8, 32, 2**63 - 1])
def test_parity_with_any_segment_length(segment_length, length, engine):
    case = make_gated_linear(length, 1, 1, segment_length=segment_length, storage="float64")
    assert_parity(with_starts(case, 0.1, states=False), engine)


@ON_ONE
@pytest.mark.parametrize("length", [0, 1, 8, 9, 16, 33])
@pytest.mark.parametrize("segment_length", [1, 8, 32])
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_parity_with_any_segment_length_on_tensor_cores(
    storage, segment_length, length, engine, on_a_gpu_for_data_centers
):
    case = make_gated_linear(length, 1, 1, 18, 5, segment_length=segment_length, storage=storage)
    assert_parity(with_starts(case, 0.1), engine)


@ON_ONE
def test_results_do_not_depend_on_thread_order(engine, on_each_kind_of_gpu):
    case = with_starts(make_gated_linear(21, 1, 2, 17, 33, segment_length=19, storage="bfloat16"), 0.1)
    expected, machine = case.both(engine), getattr(engine, "machine", {})
    for seed in ("1", "2"):
        machine["CUSHIM_SEED"] = seed
        got = case.both(engine)
        del machine["CUSHIM_SEED"]
        assert_same_bits(got, expected, expected)


@ON_ALL
def test_concatenated_sequences_equal_separate_ones(engine):
    assert_sequences_equal_separate_ones(engine)


@ON_ONE
def test_concatenated_sequences_equal_separate_ones_on_tensor_cores(engine, on_a_gpu_for_data_centers):
    assert_sequences_equal_separate_ones(engine)


def assert_sequences_equal_separate_ones(engine):
    """Bitwise."""
    case = end_to_end([3, 0, 40, 1, 5], 2, 17, 33, segment_length=32, storage="bfloat16")
    got = case.both(engine)
    for row, (begin, end) in enumerate(zip(case.cu_seqlens[:-1], case.cu_seqlens[1:], strict=True)):
        alone = case.cut(slice(begin, end), 0, s0=case.s0[row : row + 1], grad_s=case.grad_s[row : row + 1])
        expected = alone.both(engine)
        for name in OVER_TIME:
            np.testing.assert_array_equal(got[name][begin:end], expected[name], err_msg=name)
        for name in ("s", "grad_s0"):
            np.testing.assert_array_equal(got[name][row : row + 1], expected[name], err_msg=name)
    assert np.isfinite(got["starts"]).all()  # entries without a segment are written too


@ON_ONE
def test_a_restart_equals_a_new_sequence(engine, on_each_kind_of_gpu):
    """Bitwise, with NaN before the restart."""
    case = make_gated_linear(12, 2, 1, 17, 33, segment_length=32)
    case.k[3] = case.q[5] = case.v[6] = np.nan
    case = replace(case, marks=np.where(np.arange(24).reshape(12, 2) // 2 == 7, START, 0))
    whole = case.both(engine)
    second = case.cut(slice(7, None), 1, s0=None, grad_s=case.grad_s[1:]).both(engine)
    for name in OVER_TIME:
        np.testing.assert_array_equal(whole[name][7:, 1:], second[name], err_msg=name)
    np.testing.assert_array_equal(whole["s"][1:], second["s"])
    assert np.isfinite(second["s"]).all()


@ON_ONE
def test_non_finite_numbers_do_not_affect_earlier_outputs(engine, on_each_kind_of_gpu):
    clean = make_gated_linear(12, 1, 2, 17, 33, segment_length=32)
    v, grad_o = clean.v.copy(), clean.grad_o.copy()
    v[6, 0, 1, 32] = grad_o[4, 0, 1, 0] = np.inf
    got, expected = replace(clean, v=v).forward(engine), clean.forward(engine)
    reached = np.zeros(expected["o"].shape, bool)
    reached[6:, 0, 1, 32] = True
    assert not np.isfinite(got["o"][reached]).any()
    np.testing.assert_array_equal(got["o"][~reached], expected["o"][~reached])
    starts = expected["starts"]
    got = replace(clean, grad_o=grad_o).backward(starts, engine)
    expected = clean.backward(starts, engine)
    assert np.isfinite(got["grad_v"][5:]).all()
    assert_same_bits(
        {name: a[:, :, 0] for name, a in got.items() if name in OVER_TIME[1:]},
        {name: a[:, :, 0] for name, a in expected.items() if name in OVER_TIME[1:]},
        OVER_TIME[1:],
    )


@ON_ONE
@pytest.mark.parametrize("storage", ["float32", "float64"])
def test_a_closed_gate_has_no_gradient(engine, storage, on_each_kind_of_gpu):
    case = make_gated_linear(20, 1, 1, 5, 7, segment_length=32, storage=storage)
    grads = case.both(engine)["grad_log_g"]
    assert np.isneginf(case.log_g).any()
    assert not grads[np.isneginf(case.log_g)].any()


@pytest.mark.parametrize("engine_name", [ON_SOURCES[0]])
@pytest.mark.parametrize("offsets", [[-3, 2, 5], [0, 9, 5], [5, 5, 2**62], [-9, -2, -1]])
def test_wrong_offsets_touch_no_other_memory(engine, offsets, on_each_kind_of_gpu):
    """Offsets on a GPU cannot be checked without synchronizing; the address sanitizer catches violations."""
    case = end_to_end([2, 3], 1, 5, 7)
    wrong = replace(case, cu_seqlens=np.array(offsets))
    assert np.isfinite(wrong.forward(engine)["s"]).all()
    assert np.isfinite(wrong.backward(case.forward()["starts"], engine)["grad_s0"]).all()


SHAPE = {"dtype": "bfloat16", "length": 0, "batch": 2, "heads": 1, "segment_length": 32}


def launch(worker, kernel="gated_linear_forward", multiprocessors=1, options=None, **sizes):
    """Run a kernel with no steps and zero states; return the number of blocks and of threads per block."""
    fields = {**SHAPE, "key_size": 64, "value_size": 128, **sizes}
    accumulated = np.float64 if fields["dtype"] == "float64" else np.float32
    state = np.empty(2 * fields["key_size"] * fields["value_size"], accumulated)
    outputs = {"s" if kernel == "gated_linear_forward" else "grad_s0": state}
    written = worker.request(
        *("launch", kernel, fields, {}, outputs),
        **{"device": 0, "stream": 0, **(options or {})},
        environment={"CUSHIM_MULTIPROCESSORS": str(multiprocessors)},
    )
    assert not any(array.any() for array in written.values())
    return worker.request("last_launch")[1:]


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("multiprocessors", "blocks", "threads"), [(4, 4, 128), (5, 8, 64), (9, 16, 32), (100, 16, 32)]
)
def test_blocks_shrink_if_there_would_be_too_few(workers, multiprocessors, blocks, threads):
    assert launch(workers("ptx-120"), multiprocessors=multiprocessors) == (blocks, threads)


@pytest.mark.cuda
@pytest.mark.parametrize("capability", ["90", "120"])
def test_results_do_not_depend_on_the_block_size(workers, capability, monkeypatch):
    case, worker, results = make_gated_linear(20, 1, 1, 64, 128, storage="bfloat16"), workers("ptx-120"), {}
    monkeypatch.setitem(worker.machine, "CUSHIM_COMPUTE_CAPABILITY", capability)
    for multiprocessors in ("1", "100"):
        monkeypatch.setitem(worker.machine, "CUSHIM_MULTIPROCESSORS", multiprocessors)
        results[multiprocessors] = case.forward(worker)
    assert_same_bits(*results.values(), ("o", "s", "starts"))


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("capability", "are_fast"), [("80", True), ("86", False), ("90", True), ("100", True), ("120", False)]
)
def test_tensor_cores_are_used_if_fast_and_the_head_fits(workers, capability, are_fast, monkeypatch):
    worker = workers("ptx-120")
    monkeypatch.setitem(worker.machine, "CUSHIM_COMPUTE_CAPABILITY", capability)
    for kernel, most in (("gated_linear_forward", 128), ("gated_linear_backward", 64)):
        for dtype, key_size, value_size in (
            *(("bfloat16", 64, 64), ("float32", 64, 64), ("bfloat16", 65, 64), ("bfloat16", 64, 65)),
            ("float64", 64, 64),
        ):
            launch(worker, kernel, dtype=dtype, key_size=key_size, value_size=value_size)
            fits = max(key_size, value_size) <= most and dtype != "float64"
            assert ("Lb1E" in worker.request("last_launch")[0]) == (are_fast and fits), (kernel, dtype)


@pytest.mark.cuda
def test_a_block_of_the_backward_kernel_holds_a_state(workers):
    worker = workers("ptx-120")
    assert launch(worker, "gated_linear_backward") == (2, 256)
    assert launch(worker, "gated_linear_backward", key_size=65, value_size=33) == (2, 256)
    assert launch(worker, "gated_linear_backward", key_size=3, value_size=5) == (2, 32)


@pytest.mark.cuda
@pytest.mark.parametrize("kernel", ["gated_linear_forward", "gated_linear_backward"])
@pytest.mark.parametrize(
    ("dtype", "sizes", "fits"),
    [
        *[("bfloat16", sizes, True) for sizes in [(0, 0), (64, 128), (128, 64), (65, 33), (1, 128)]],
        *[("bfloat16", sizes, False) for sizes in [(65, 65), (129, 1), (1, 129)]],
        *[("float64", (64, 64), True), ("float64", (128, 32), True), ("float64", (64, 65), False)],
    ],
)
def test_heads_that_do_not_fit_are_refused(workers, dtype, sizes, fits, kernel):
    worker = workers("ptx-120")
    assert worker.request("ask", "gated_linear_fits", DType[dtype], *sizes) == fits
    shape = {"dtype": dtype, "key_size": sizes[0], "value_size": sizes[1], "batch": 0}
    if fits:
        return refused(worker, kernel, **shape)  # accepted, because the batch is empty
    message = f"^{kernel}: the state of a head must fit into registers of a GPU, got .* = .*, {sizes[1]}"
    with pytest.raises(ValueError, match=message):
        refused(worker, kernel, **shape)


@pytest.mark.cuda
def test_more_than_two_billion_steps_are_refused(workers):
    with pytest.raises(ValueError, match=r"length must be at most 2147483647 on a GPU, got 2147483648$"):
        refused(workers("ptx-120"), "gated_linear_forward", batch=0, length=2**31)


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("option", "value", "allowed"), [("columns_per_thread", 1, "0"), ("threads_per_column", 2, "0 or 1")]
)
def test_columns_per_thread_cannot_be_chosen(workers, option, value, allowed):
    message = f"^gated_linear_forward: {option} must be {allowed}, got {value}$"
    with pytest.raises(ValueError, match=message):
        launch(workers("ptx-120"), options={option: value})


@pytest.mark.cuda
def test_a_grid_that_is_too_large_is_refused(workers):
    message = "needs a grid of 2147483648 blocks, but CUDA allows at most 2147483647; split the batch$"
    with pytest.raises(ValueError, match=message):
        refused(workers("ptx-120"), "gated_linear_backward", batch=2**31, grad_s0=64)


def refused(worker, kernel, *, grad_s0=0, **sizes):
    """Make a call that ends before the launcher accesses memory."""
    fields = {**SHAPE, "key_size": 1, "value_size": 1, **sizes}
    options = {"device": 0, "stream": 0}
    worker.request("launch_at", kernel, fields, {"grad_s0": grad_s0} if grad_s0 else {}, **options)
