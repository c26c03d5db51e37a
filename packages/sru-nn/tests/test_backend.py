"""The choice of the implementation and what is said when it cannot be had."""

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
def no_kernels(monkeypatch):
    monkeypatch.setattr(backend, "_installed", False)


def in_a_thread(function):
    """Return what a function returns in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@needs_kernels
def test_two_threads_have_a_choice_each_and_leave_none_behind():
    """Their blocks overlap: the one that was entered first is left first."""
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
def test_a_block_is_of_its_thread_and_a_choice_of_the_process():
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


@pytest.mark.usefixtures("no_kernels")
def test_auto_falls_back_to_the_reference():
    with backend.using("auto"):
        assert backend.active() == "reference"


@pytest.mark.usefixtures("no_kernels")
def test_kernels_that_are_not_installed():
    message = r"'kernels' was chosen, but the package sru-kernels is not installed \(pip install "
    with backend.using("kernels"), pytest.raises(RuntimeError, match=message):
        backend.active()


def test_kernels_that_cannot_be_imported(monkeypatch):
    def broken(name):
        raise ImportError("undefined symbol")

    monkeypatch.setattr(backend, "_installed", True)
    monkeypatch.setattr(backend, "_problems", {})
    monkeypatch.setattr(backend.importlib, "import_module", broken)
    with (
        backend.using("auto"),
        pytest.warns(UserWarning, match="slower reference operators on cpu .*undefined symbol"),
    ):
        assert backend.active() == "reference"
    assert backend.active() == "reference"  # and no second warning


class CannotRunCuda:
    """The package `sru_kernels` on a machine where its CUDA kernels cannot run."""

    class cuda:  # noqa: N801 - the name of a module
        @staticmethod
        def problem(device):
            return f"device {device} is too old"


def test_a_gpu_that_the_kernels_cannot_use(monkeypatch):
    monkeypatch.setattr(backend, "_installed", True)
    monkeypatch.setattr(backend, "_problems", {})
    monkeypatch.setattr(backend.importlib, "import_module", lambda name: CannotRunCuda)
    with (
        backend.using("auto"),
        pytest.warns(UserWarning, match="on cuda tensors, because device 1 is"),
    ):
        assert backend.active("cuda:1") == "reference"
    assert backend.active("cuda:1") == "reference"  # and no second warning
    with (
        backend.using("kernels"),
        pytest.raises(RuntimeError, match="but device 1 is too old; choose"),
    ):
        backend.active("cuda:1")
    with backend.using("reference"):
        assert backend.active("cuda:1") == "reference"


def test_a_gpu_of_rocm_whose_devices_are_called_cuda(monkeypatch):
    """The CUDA kernels must not be handed its pointers; nor is a driver asked."""
    monkeypatch.setattr(backend, "_installed", True)
    monkeypatch.setattr(backend, "_problems", {})
    monkeypatch.setattr(backend.importlib, "import_module", lambda name: CannotRunCuda)
    monkeypatch.setattr(torch.version, "hip", "6.4.43482")
    with (
        backend.using("auto"),
        pytest.warns(UserWarning, match="on cuda tensors, because .* is built for ROCm"),
    ):
        assert backend.active("cuda:0") == "reference"
    with backend.using("kernels"), pytest.raises(RuntimeError, match="but this PyTorch is built for ROCm"):
        backend.active("cuda:0")
    with backend.using("kernels"):
        assert backend.active("cpu") == "kernels"


def test_a_device_without_kernels():
    with backend.using("auto"):
        assert backend.active(torch.device("meta")) == "reference"
    with backend.using("kernels"), pytest.raises(RuntimeError, match="no kernels for meta tensors"):
        backend.active("meta")


def test_wrong_choice():
    with pytest.raises(ValueError, match="choice must be one of auto, kernels, reference, got 'cuda'"):
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
        assert "SRU_NN_BACKEND must be one of auto, kernels, reference, got 'fast'" in result.stderr
