"""The CUDA kernels of the Li-GRU, with and without columns in shared memory, against the NumPy oracle."""

from dataclasses import replace

import numpy as np
import pytest

from ...support.engines import GPU, ON_PTX, ON_SOURCES
from .cases import make_ligru, make_ragged
from .test_recurrence import assert_parity, assert_same_bits

ON_ALL = pytest.mark.parametrize("engine_name", [*ON_SOURCES, *ON_PTX, GPU])
ON_BUT_TSAN = pytest.mark.parametrize("engine_name", [ON_SOURCES[0], ON_PTX[-1], GPU])
ON_ONE = pytest.mark.parametrize("engine_name", [ON_PTX[-1], GPU])
NORM = pytest.mark.parametrize("norm", [False, True])
# Few blocks, because blocks wait for each other and each is a thread here. They have one tile or several.
SMALL = {"CUSHIM_MULTIPROCESSORS": "3"}
STREAMED = {**SMALL, "CUSHIM_SHARED_MEMORY": "0"}  # the columns are read at every step
APART = {**SMALL, "CUSHIM_COOPERATIVE_LAUNCH": "0"}  # every stage is a launch
MACHINES = {"resident": SMALL, "streamed": STREAMED, "apart": APART}
# T, B, D, directions, storage, activation: full and partial tiles of units and rows, one block or several.
CASES = [
    *((3, 3, 17, 2, "float32", "relu"), (3, 2, 24, 2, "float64", "sin")),
    *((3, 5, 9, 1, "bfloat16", "tanh"), (2, 1, 1, 1, "float16", "leaky_relu")),
]


@pytest.fixture(params=["resident"])
def machine(request, engine):
    """The machine simulated by the runtime; a real GPU cannot be changed."""
    settings = getattr(engine, "machine", None)
    if settings is None:
        if request.param != "resident":
            pytest.skip("needs a simulated machine")
        yield
        return
    before = dict(settings)
    settings.update(MACHINES[request.param])
    yield
    settings.clear()
    settings.update(before)


def make(case, **options):
    length, batch, size, directions, storage, activation = case
    return make_ligru(
        *(length, batch, size), num_directions=directions, storage=storage, activation=activation, **options
    )


@ON_ALL
@NORM
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.usefixtures("machine")
def test_parity(case, norm, engine):
    assert_parity(make(case, norm=norm), engine)


@ON_BUT_TSAN
@pytest.mark.parametrize("machine", ["streamed", "apart"], indirect=True)
@pytest.mark.parametrize("storage", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize(("size", "norm"), [(4, False), (6, True)])  # rows read 16 bytes at a time or not
@pytest.mark.usefixtures("machine")
def test_parity_on_other_machines(size, norm, storage, engine):
    assert_parity(make_ligru(2, 2, size, norm=norm, storage=storage), engine)


@ON_ONE
@pytest.mark.parametrize(
    "absent",
    [("mask_h", "marks"), ("h0", "h_reset"), ("grad_h", "grad_h_last"), ("norm_weight",), ("norm_bias",)],
)
@pytest.mark.usefixtures("machine")
def test_parity_with_absent_inputs(absent, engine):
    norm = "norm" in absent[0]
    assert_parity(make_ligru(3, 2, 6, absent=absent, norm=norm, storage="float64"), engine)


@ON_ONE
@NORM
@pytest.mark.parametrize("size", [(0, 3, 5), (5, 0, 5), (5, 3, 0)])
@pytest.mark.usefixtures("machine")
def test_parity_of_empty_arrays(size, norm, engine):
    assert_parity(make_ligru(*size, norm=norm), engine)


@ON_ONE
@NORM
@pytest.mark.usefixtures("machine")
def test_parity_of_a_state_with_several_pieces_per_lane(norm, engine):
    assert_parity(make_ligru(2, 1, 300, num_directions=1, norm=norm), engine)


@ON_ALL
@pytest.mark.parametrize("norm", [True])
@pytest.mark.usefixtures("machine")
def test_concatenated_sequences_equal_separate_ones(norm, engine):
    """Bitwise."""
    case = make_ragged([3, 0, 4, 1], 9, norm=norm, storage="bfloat16")
    together = case.both(engine)
    for number in range(4):
        begin, end = case.cu_seqlens[number : number + 2]
        alone = case.sequence(number)
        part = {
            name: array[number : number + 1] if name in ("h_last", "grad_h0") else array[begin:end]
            for name, array in together.items()
        }
        assert_same_bits(part, alone.both(engine), alone)


@ON_ONE
@NORM
def test_results_do_not_depend_on_the_machine(norm, engine, monkeypatch):
    """The number of blocks, the memory of the columns and the number of launches do not change any bit."""
    case, results = make_ligru(3, 5, 20, norm=norm), []
    for settings in (*MACHINES.values(), {"CUSHIM_MULTIPROCESSORS": "1"}, {"CUSHIM_MULTIPROCESSORS": "8"}):
        for name, value in settings.items():
            monkeypatch.setitem(getattr(engine, "machine", {}), name, value)
        results.append(case.both(engine))
        monkeypatch.undo()
    for other in results[1:]:
        assert_same_bits(other, results[0], case)


@ON_ONE
@NORM
@pytest.mark.usefixtures("machine")
def test_results_do_not_depend_on_saving(norm, engine):
    case = make_ligru(norm=norm)
    kept, dropped = case.forward(engine), case.forward(engine, without=("states", "products", "rstd"))
    for name in ("h", "h_last"):
        np.testing.assert_array_equal(dropped[name], kept[name])


@ON_ONE
@NORM
@pytest.mark.usefixtures("machine")
def test_gradients_may_overwrite_the_products(norm, engine):
    case = make_ligru(4, 3, 10, norm=norm)
    forward = case.forward(engine)
    saved = {name: forward[name] for name in ("products", "rstd") if name in forward}
    saved["before"] = case.rounded().states_before(forward["states"])
    expected = case.backward(saved, engine)

    def in_place(kernel, fields, inputs, outputs, options):
        name = "grad_products" if norm else "grad_sums"
        outputs[name][...] = inputs.pop("products")
        written = engine.request(
            *("launch", kernel, fields, inputs, outputs),
            **{"device": 0, "stream": 0, "same": {"products": name}, **options},
        )
        for found, array in outputs.items():
            array[...] = written[found]

    if hasattr(engine, "request"):
        assert_same_bits(case.backward(saved, in_place), expected, case)


@ON_ONE
@NORM
@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.usefixtures("machine")
def test_values_at_padding_have_no_effect(poison, norm, engine):
    clean = make_ligru(6, norm=norm)
    pad = clean.padding()
    assert 0 < pad.sum() < pad.size
    dirty = {name: getattr(clean, name).copy() for name in ("u", "grad_h")}
    for array in dirty.values():
        array[pad] = poison
    assert_same_bits(replace(clean, **dirty).both(engine), clean.both(engine), clean)


@ON_ONE
@pytest.mark.usefixtures("machine")
def test_nan_does_not_spread_to_other_rows(engine):
    clean = make_ligru(4, 3, 10, absent=("marks",), num_directions=1)
    u = clean.u.copy()
    u[2, 1, 0, 3] = np.nan
    got, expected = replace(clean, u=u).both(engine), clean.both(engine)
    for name, array in expected.items():
        over_batch = 0 if array.shape[0] == 3 else 1
        rows, wanted = (np.delete(a, 1, over_batch) for a in (got[name], array))
        np.testing.assert_array_equal(rows, wanted, err_msg=name)
    assert np.isnan(got["h"][2:, 1]).any()


@pytest.mark.parametrize("engine_name", [ON_SOURCES[0]])
@pytest.mark.parametrize("offsets", [[-3, 2, 5], [0, 9, 5], [5, 5, 2**62], [-9, -2, -1]])
@pytest.mark.usefixtures("machine")
def test_wrong_offsets_touch_no_other_memory(engine, offsets):
    """Offsets on a GPU cannot be checked without synchronizing; the address sanitizer catches violations."""
    case = make_ragged([2, 3], 5, norm=True)
    saved = {name: value for name, value in case.forward().items() if name in ("products", "rstd")}
    saved["before"] = np.zeros((5, 1, 2, 5))
    wrong = replace(case, cu_seqlens=np.array(offsets))
    assert np.isfinite(wrong.forward(engine)["h_last"]).all()
    wrong.backward(saved, engine)


LIGRU = {"dtype": "float32", "activation": "relu", "length": 0, "num_directions": 1, "has_norm": False}


def launch(worker, kernel="ligru_forward", environment=None, addresses=None, **sizes):
    """Run a kernel with no steps and zero states; return its name, its blocks and its threads per block."""
    fields = {**LIGRU, "batch": 16, "hidden_size": 64, **sizes}
    options = {name: fields.pop(name, 0) for name in ("columns_per_thread", "threads_per_column")}
    rows, size = fields["batch"], fields["hidden_size"]
    arrays = {"h_last" if kernel == "ligru_forward" else "grad_h0": np.empty((rows, size), np.float32)}
    arrays["scratch"] = np.empty((5, rows, size + 4), np.float32)
    if addresses is not None:
        given = {**dict.fromkeys(arrays, 64), **addresses}
        return worker.request("launch_at", kernel, fields, given, device=0, stream=0, **options)
    worker.request(
        *("launch", kernel, fields, {}, arrays),
        **{"device": 0, "stream": 0, **options},
        environment=environment,
    )
    return worker.request("last_launch")


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("kernel", "multiprocessors", "blocks", "threads"),
    [
        ("ligru_forward", 4, 4, 256),  # 4 of 16 tiles, all rows
        ("ligru_forward", 16, 16, 128),  # one tile each, 4 quads of rows
        ("ligru_forward", 40, 32, 64),  # rows are divided too
        ("ligru_forward", 132, 64, 32),
        ("ligru_backward", 16, 16, 64),  # tiles are wider
    ],
)
def test_a_grid_has_no_more_blocks_than_run_concurrently(workers, kernel, multiprocessors, blocks, threads):
    environment = {"CUSHIM_MULTIPROCESSORS": str(multiprocessors)}
    assert launch(workers("ptx-120"), kernel, environment)[1:] == (blocks, threads)


@pytest.mark.cuda
@pytest.mark.parametrize("kernel", ["ligru_forward", "ligru_backward"])
@pytest.mark.parametrize("address", [0, 8])
def test_scratch_memory_is_required(workers, kernel, address):
    message = f"^{kernel}: scratch is required on a GPU, at an address that 16 divides$"
    with pytest.raises(ValueError, match=message):
        launch(workers("ptx-120"), kernel, addresses={"scratch": address})


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("option", "value", "allowed"), [("columns_per_thread", 1, "0"), ("threads_per_column", 2, "0 or 1")]
)
def test_columns_per_thread_cannot_be_chosen(workers, option, value, allowed):
    message = f"^ligru_forward: {option} must be {allowed}, got {value}$"
    with pytest.raises(ValueError, match=message):
        launch(workers("ptx-120"), addresses={}, **{option: value})


@pytest.mark.cuda
def test_a_failed_launch_names_kernel_shape_and_error(workers):
    worker = workers("ptx-120")
    message = (
        r"^ligru_forward: CUDA did not launch the kernel for \(T, B, N, D\) = \(0, 16, 1, 64\) in float32 on "
        r"device 0: cudaErrorInvalidConfiguration \("
    )
    with pytest.raises(Exception, match=message):
        launch(worker, environment={"CUSHIM_LAUNCH_ERROR": "9"})
