"""The choice of the implementation, and the errors if it is unavailable."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sru_nn import backend

needs_kernels = pytest.mark.skipif(backend.active() == "reference", reason="there are no kernels here")


@pytest.fixture
def installed(monkeypatch):
    """Return a function that makes the named backends appear installed, with no device seen before."""
    monkeypatch.setattr(backend, "_problems", {"kernels": {}, "triton": {}})
    monkeypatch.setattr(backend, "_warned", set())
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)

    def install(**packages):
        names = {"kernels": "sru_kernels", "triton": "triton"}
        modules = {names[name]: package for name, package in packages.items()}
        monkeypatch.setattr(backend, "_installed", {name: name in packages for name in names})
        monkeypatch.setattr(backend.importlib, "import_module", lambda name: imported(modules[name]))

    return install


def imported(package):
    if isinstance(package, Exception):
        raise package
    return package


def in_a_thread(function):
    """Return what a function returns in its own thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@needs_kernels
def test_two_threads_have_a_choice_each_and_leave_none_behind():
    """Their blocks overlap: the first one entered is also exited first."""
    step = [threading.Event() for _ in range(3)]

    def first():
        with backend.using("reference"):
            step[0].set()
            step[1].wait(60)
            return backend.active()

    def second():
        step[0].wait(60)
        with backend.using("kernels"):
            step[1].set()
            step[2].wait(60)
            return backend.active()

    with backend.using("auto"), ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(first), pool.submit(second)
        assert one.result(60) == "reference"
        assert backend.active() == "kernels"
        step[2].set()
        assert two.result(60) == "kernels"
        assert backend.active() == "kernels"
    assert in_a_thread(backend.active) == "kernels"


@needs_kernels
def test_a_block_affects_its_thread_and_a_choice_the_process():
    with backend.using("reference"):
        assert in_a_thread(backend.active) == "kernels"
    backend.choose("reference")
    try:
        assert in_a_thread(backend.active) == "reference"
        with backend.using("kernels"):
            assert backend.active() == "kernels"
        assert backend.active() == "reference"
    finally:
        backend.choose("auto")


@needs_kernels
def test_a_block_left_by_an_error_leaves_no_choice():
    with pytest.raises(ZeroDivisionError), backend.using("reference"):
        1 / 0  # noqa: B018
    assert backend.active() == "kernels"


def test_auto_takes_the_reference_on_a_cpu_without_kernels(installed):
    """Without a warning, even if Triton is installed."""
    installed(triton=Triton())
    with backend.using("auto"):
        assert backend.active() == "reference"


def test_kernels_that_are_not_installed(installed):
    installed()
    message = r"'kernels' was chosen, but the package sru-kernels is not installed \(pip install "
    with backend.using("kernels"), pytest.raises(RuntimeError, match=message):
        backend.active()


def test_kernels_that_cannot_be_imported(installed):
    installed(kernels=ImportError("undefined symbol"))
    with (
        backend.using("auto"),
        pytest.warns(UserWarning, match="slower reference operators on cpu .*undefined symbol; fix that"),
    ):
        assert backend.active() == "reference"
    with backend.using("auto"):
        assert backend.active() == "reference"  # and no second warning


class Kernels:
    """The package `sru_kernels` with CUDA kernels that have a problem, or None."""

    def __init__(self, problem: str | None = "is too old") -> None:
        class cuda:  # noqa: N801 - the name of a module
            @staticmethod
            def problem(device: int) -> str | None:
                return None if problem is None else f"device {device} {problem}"

        self.cuda = cuda


class Triton:
    """The package `triton`."""

    def __init__(self, version: str = "3.9.0", problem: str | None = None) -> None:
        self.__version__, self.problem = version, problem
        self.runtime = self.driver = self.active = self

    def get_current_target(self) -> None:
        if self.problem is not None:
            raise RuntimeError(self.problem)


@pytest.fixture
def gpu(monkeypatch):
    """A CUDA device with a given compute capability."""

    def be(*capability):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)

    be(9, 0)
    return be


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("packages", "device", "expected"),
    [
        ({"kernels": Kernels(None), "triton": Triton()}, "cuda:1", "kernels"),
        ({"kernels": Kernels(), "triton": Triton()}, "cuda:1", "triton"),
        ({"triton": Triton()}, "cuda:1", "triton"),
        ({"kernels": Kernels(None), "triton": Triton()}, "xpu", "triton"),
        ({"kernels": Kernels(None), "triton": Triton()}, "mps", "reference"),
        ({}, "mps", "reference"),
    ],
)
def test_the_first_that_can_runs(installed, packages, device, expected):
    installed(**packages)
    with backend.using("auto"):
        assert backend.active(device) == expected


def test_each_can_be_chosen(installed, gpu):
    installed(kernels=Kernels(None), triton=Triton())
    for choice in ("kernels", "triton", "reference"):
        with backend.using(choice):
            assert backend.active("cuda:1") == choice


OLD = r"because device 1 is too old and Triton is not installed \(pip install triton\); fix that, or set SRU"


def test_a_gpu_that_nothing_fast_can_use(installed):
    installed(kernels=Kernels())
    with backend.using("auto"), pytest.warns(UserWarning, match=f"slower .* on cuda tensors, {OLD}"):
        assert backend.active("cuda:1") == "reference"
    with backend.using("auto"):
        assert backend.active("cuda:1") == "reference"  # and no second warning
    with (
        backend.using("kernels"),
        pytest.raises(RuntimeError, match="but device 1 is too old; choose"),
    ):
        backend.active("cuda:1")
    with backend.using("reference"):
        assert backend.active("cuda:1") == "reference"


def test_a_gpu_of_rocm_whose_devices_are_called_cuda(monkeypatch, installed):
    """The CUDA kernels must not receive its pointers, and no driver is queried. Triton runs instead."""
    installed(kernels=Kernels(None), triton=Triton())
    monkeypatch.setattr(torch.version, "hip", "6.4.43482")
    with backend.using("auto"):
        assert backend.active("cuda:0") == "triton"
    with backend.using("kernels"), pytest.raises(RuntimeError, match="but this PyTorch is built for ROCm"):
        backend.active("cuda:0")
    with backend.using("kernels"):
        assert backend.active("cpu") == "kernels"


@pytest.mark.parametrize(
    ("package", "capability", "device", "message"),
    [
        (None, (9, 0), "cuda:0", r"Triton is not installed \(pip install triton\)"),
        (ImportError("no libcuda"), (9, 0), "cuda:0", "the installed Triton cannot be imported: no libcuda"),
        (
            Triton("3.2.0"),
            (9, 0),
            "xpu",
            r"Triton 3.2.0 is too old \(pip install 'triton>=3.3', or torch 2.7",
        ),
        (Triton(problem="0 active drivers"), (9, 0), "xpu", "3.9.0 cannot use the GPU: 0 active drivers"),
        (Triton(), (7, 0), "cuda:0", "Triton needs compute capability 7.5, this GPU has 7.0"),
        (Triton(), (9, 0), "mps", "Triton has no kernels for mps tensors"),
        (Triton(), (9, 0), "cpu", r"in its interpreter only \(start Python with TRITON_INTERPRET=1\)"),
    ],
)
def test_triton_that_cannot_run(installed, gpu, package, capability, device, message):
    installed(**({} if package is None else {"triton": package}))
    gpu(*capability)
    with (
        backend.using("triton"),
        pytest.raises(RuntimeError, match=f"the backend 'triton' was chosen, but .*{message}"),
    ):
        backend.active(device)


def test_the_interpreter_runs_cpu_tensors_where_it_is_chosen(monkeypatch, installed):
    installed(triton=Triton(problem="no GPU"))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with backend.using("triton"):
        assert backend.active("cpu") == "triton"
    with backend.using("auto"):
        assert backend.active("cpu") == "reference"


def test_a_device_without_kernels():
    with backend.using("auto"):
        assert backend.active(torch.device("meta")) == "reference"
    with (
        backend.using("kernels"),
        pytest.raises(RuntimeError, match="sru-kernels has no kernels for meta tensors"),
    ):
        backend.active("meta")


def test_wrong_choice():
    with pytest.raises(ValueError, match="must be one of auto, kernels, triton, reference, got 'cuda'"):
        backend.choose("cuda")


@pytest.mark.parametrize(("value", "expected"), [("reference", "reference"), ("fast", "ValueError")])
def test_environment_variable(value, expected):
    program = "from sru_nn import backend; print(backend.active())"
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "SRU_NN_BACKEND": value},
        capture_output=True,
        text=True,
    )
    assert expected in result.stdout + result.stderr
    if expected == "ValueError":
        assert "SRU_NN_BACKEND must be one of auto, kernels, triton, reference, got 'fast'" in result.stderr
