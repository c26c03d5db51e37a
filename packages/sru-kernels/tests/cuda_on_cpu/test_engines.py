"""The engines detect errors: a correct kernel is given memory that is too small or misaligned."""

import numpy as np
import pytest

pytestmark = pytest.mark.cuda
FIELDS = {
    **{"dtype": "float32", "activation": "identity", "length": 3, "batch": 2},
    **{"num_directions": 1, "num_gates": 3, "scale_x": 1.0, "v_per_position": False},
}
ONE_COLUMN = {"device": 0, "stream": 0, "columns_per_thread": 1}
SIZES = {"u": 18, "v": 2, "bias": 2, "h": 6, "c": 6, "c_last": 2}  # times hidden_size


def launch(worker, missing=None, hidden_size=8, **options):
    arrays = {
        name: np.zeros(size * hidden_size - (name == missing), np.float32) for name, size in SIZES.items()
    }
    outputs = {name: arrays.pop(name) for name in ("h", "c", "c_last")}
    fields = {**FIELDS, "hidden_size": hidden_size}
    worker.request("launch", "sru_forward", fields, arrays, outputs, **{**ONE_COLUMN, **options})


@pytest.mark.parametrize(("hidden_size", "columns_per_thread"), [(8, 1), (32, 1), (128, 4)])
@pytest.mark.parametrize("missing", SIZES)
def test_an_array_that_is_one_element_too_short(workers, missing, hidden_size, columns_per_thread):
    worker, size = workers("source-asan"), {"hidden_size": hidden_size}
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        launch(worker, missing, columns_per_thread=columns_per_thread, **size)
    launch(worker, columns_per_thread=columns_per_thread, **size)  # in a new process


@pytest.mark.parametrize(
    ("engine", "message"), [("source-asan", "misaligned address"), ("ptx-75", "misaligned access")]
)
def test_misaligned_arrays(workers, engine, message):
    with pytest.raises(AssertionError, match=message):
        launch(workers(engine), shift=2)
