"""The error messages if the CUDA kernels cannot run, on a machine simulated by a stand-in runtime."""

import contextlib
import ctypes
import re

import numpy as np
import pytest

from ..cells.sru.cases import make_sru
from ..support.engines import CudaError, Worker

pytestmark = pytest.mark.cuda
FIELDS = {
    **{"dtype": "float32", "activation": "identity", "length": 2, "batch": 3, "hidden_size": 8},
    **{"num_directions": 1, "num_gates": 3, "scale_x": 1.0, "v_per_position": False},
}
FOUR = {"hidden_size": 128, "columns_per_thread": 4}
ADDRESSES = dict.fromkeys(("u", "v", "bias", "h", "c_last"), 1024)  # never read
BACKWARD = ("u", "v", "bias", "c", "grad_u", "grad_v", "grad_bias", "grad_c0")


def launch(worker, kernel="sru_forward", addresses=ADDRESSES, environment=None, **changes):
    options = {
        name: changes.pop(name, 0)
        for name in ("device", "stream", "columns_per_thread", "threads_per_column")
    }
    fields = {**FIELDS, **changes}
    worker.request("launch_at", kernel, fields, addresses, environment=environment, **options)


@pytest.fixture
def worker(workers):
    return workers("ptx-120")


@pytest.mark.parametrize("driver", ["13000", "13020", "14000"])
def test_a_driver_with_the_same_or_a_newer_major_version_is_accepted(worker, driver):
    assert worker.request("ask", "problem", 0, environment={"CUSHIM_DRIVER": driver}) is None


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ({"CUSHIM_DRIVER": "0"}, "no NVIDIA driver was found on this machine"),
        (
            {"CUSHIM_DRIVER": "12080"},
            "the driver supports CUDA 12.8, but this build of sru-kernels needs 13.0 or newer; update the "
            "driver",
        ),
        ({"CUSHIM_DEVICES": "0"}, "cudaErrorNoDevice (no CUDA-capable device is detected)"),
        (
            {"CUSHIM_COMPUTE_CAPABILITY": "70"},
            "device 0 (Stand-in) has compute capability 7.0, but this build of sru-kernels holds compute_75, "
            "compute_120",
        ),
    ],
)
def test_problem_names_what_the_machine_lacks(worker, machine, message):
    assert message in worker.request("ask", "problem", 0, environment=machine)
    assert message in worker.request("diagnosis", environment=machine)


@pytest.mark.parametrize("device", [1, 7, -1])
def test_problem_of_a_missing_device(worker, device):
    message = f"there is no CUDA device {device}: CUDA sees 1, counted from 0"
    assert worker.request("ask", "problem", device) == message


def test_facts_of_a_suitable_machine(worker):
    info = worker.request("ask", "build_info")
    assert (info["architectures"], info["runtime"]) == (["compute_75", "compute_120"], "shared")
    assert re.fullmatch(r"\d+\.\d+", info["toolkit"])
    machine = {"CUSHIM_DEVICES": "2", "CUSHIM_COMPUTE_CAPABILITY": "90", "CUSHIM_DRIVER": "13010"}
    assert worker.request("ask", "driver_version", environment=machine) == "13.1"
    devices = worker.request("ask", "devices", environment=machine)
    assert [tuple(device) for device in devices] == [(i, "Stand-in", (9, 0), 8, 8 << 30) for i in (0, 1)]


@pytest.mark.parametrize("function", ["forward", "backward"])
def test_a_failed_launch_names_kernel_shape_and_error(worker, function):
    given = make_sru(5, 3, 17, num_directions=2, storage="bfloat16")
    message = (
        f"sru_{function}: CUDA did not launch the kernel for (T, B, K, N·D) = (5, 3, 3, 34) in bfloat16 on "
        "device 0: cudaErrorNoKernelImageForDevice (no kernel image is available for execution on the device)"
    )
    c = given.forward(worker)["c"]
    worker.machine = {"CUSHIM_LAUNCH_ERROR": "209"}
    try:
        with pytest.raises(CudaError, match=f"^{re.escape(message)}$"):
            given.forward(worker) if function == "forward" else given.backward(c, worker)
    finally:
        worker.machine = {}
    given.backward(given.forward(worker)["c"], worker)  # the next launch does not see the error


@pytest.mark.parametrize(
    ("machine", "device", "message"),
    [
        ({}, 1, r"^sru_forward: cannot use device 1: cudaErrorInvalidDevice \(invalid device ordinal\)"),
        ({"CUSHIM_DRIVER": "0"}, 0, r"^sru_forward: cannot use device 0: cudaErrorInsufficientDriver \("),
    ],
)
def test_a_launch_on_a_missing_device(worker, machine, device, message):
    with pytest.raises(CudaError, match=message):
        launch(worker, device=device, environment=machine)


@pytest.mark.parametrize("error", ["0", "1"])
def test_a_launch_restores_the_current_device(worker, error):
    two = {"CUSHIM_DEVICES": "2"}
    expected = contextlib.nullcontext() if error == "0" else pytest.raises(CudaError)
    with expected:
        worker.request(
            *("launch", "sru_forward", {**FIELDS, "length": 0, "batch": 1}, {}),
            {"c_last": np.zeros(8, np.float32)},
            **{"device": 1, "stream": 0, "columns_per_thread": 0},
            environment={**two, "CUSHIM_LAUNCH_ERROR": error},
        )
    assert worker.request("current_device", environment=two) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns_per_thread": 3}, "columns_per_thread must be 0, 1 or 4 for float32, got 3"),
        ({"columns_per_thread": -1}, "columns_per_thread must be at least 0, got -1"),
        ({"threads_per_column": 3}, "threads_per_column must be 0, 1 or 5, got 3"),
        ({"threads_per_column": -1}, "threads_per_column must be at least 0, got -1"),
        (
            {"threads_per_column": 5, "columns_per_thread": 4},
            "threads_per_column = 5 needs one v for all positions and columns_per_thread 0 or 1; pass 0",
        ),
        ({"threads_per_column": 5, "v_per_position": True}, "threads_per_column = 5 needs one v for all"),
        (
            {"dtype": "float16", "columns_per_thread": 4},
            "columns_per_thread must be 0, 1 or 8 for float16, got 4",
        ),
        ({**FOUR, "hidden_size": 64}, "columns_per_thread = 4 needs a hidden_size that 128 divides"),
        ({"v_per_position": True, **FOUR}, "columns_per_thread = 4 needs .* one v for all"),
        (
            {"environment": {"CUSHIM_COMPUTE_CAPABILITY": "75"}, **FOUR},
            "columns_per_thread = 4 needs .* compute capability 8.0",
        ),
        ({"device": -1}, "device must be at least 0, got -1"),
        ({"batch": 2**31, "hidden_size": 2**31}, "hidden_size must keep the product of all sizes below 2"),
        (
            {"length": 0, "batch": 2**20, "hidden_size": 2**25},
            "needs a grid of 68719476736 blocks, but CUDA allows at most 2147483647; split the batch",
        ),
        ({"num_gates": 5}, "num_gates must be 3 or 4, got 5"),
        ({"addresses": {**ADDRESSES, "u": 0}}, "u is required, got a null pointer"),
    ],
)
def test_impossible_arguments_are_refused(worker, changes, message):
    with pytest.raises(ValueError, match=f"^sru_forward: {message}"):
        launch(worker, **changes)


@pytest.mark.parametrize(
    ("kernel", "names", "misaligned"),
    [
        *[("sru_forward", tuple(ADDRESSES), name) for name in ("u", "c_last")],
        *[("sru_backward", BACKWARD, name) for name in ("grad_u", "grad_v", "grad_c0", "c", "grad_h")],
    ],
)
def test_every_array_must_be_aligned_for_wide_reads(worker, kernel, names, misaligned):
    addresses = {**dict.fromkeys(names, 1024), misaligned: 1028}
    with pytest.raises(ValueError, match=rf"^{kernel}: columns_per_thread = 4 needs .* arrays aligned to 16"):
        launch(worker, kernel, addresses, **FOUR)


@pytest.fixture
def elsewhere():
    """A function that starts a worker with another package; it ends with the test."""
    started = []

    def start(package, **environment):
        started.append(Worker(package, environment))
        return started[-1]

    yield start
    for process in started:
        process.close()


def test_a_build_without_cuda_says_so(builds, elsewhere):
    worker = elsewhere(builds.cpu_only)
    message = "this build of sru-kernels holds no CUDA kernels"
    assert worker.request("ask", "problem", 0) == message
    assert worker.request("ask", "build_info") is None
    assert message in worker.request("diagnosis")
    with pytest.raises(CudaError, match=message):
        launch(worker)


def test_a_runtime_that_does_not_load_is_a_problem_not_an_import_error(builds, elsewhere, tmp_path):
    (tmp_path / "libcudart.so.13").touch()  # an empty file that the loader finds first
    worker = elsewhere(builds.real, LD_LIBRARY_PATH=str(tmp_path))
    problem = worker.request("ask", "problem", 0)
    assert re.match(r"the CUDA kernels cannot be loaded: .*libcudart\.so\.13: file too short", problem)
    assert problem in worker.request("diagnosis")


def test_the_static_runtime_needs_no_driver_to_load(builds, elsewhere):
    worker = elsewhere(builds.static)
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        assert worker.request("ask", "problem", 0) == "no NVIDIA driver was found on this machine"
        with pytest.raises(
            CudaError, match=r"^sru_forward: cannot use device 0: cudaErrorInsufficientDriver"
        ):
            launch(worker)
    else:
        assert worker.request("ask", "driver_version") is not None
