"""Which builds run on which GPUs, with a stand-in for the extension and the machine."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from sru_kernels import cuda

CMAKE = Path(__file__).parents[2] / "cmake/cuda.cmake"


@pytest.fixture
def problem(monkeypatch):
    """A function that returns the problem of a build on a device, or None."""

    def ask(architectures, capability):
        extension = SimpleNamespace(
            toolkit="13.0",
            architectures=architectures,
            runtime="static",
            driver_version=lambda: 13000,
            devices=lambda: [("Stand-in", capability, 1, 1 << 30)],
        )
        monkeypatch.setattr(cuda, "_extension", lambda: extension)
        return cuda.problem()

    return ask


@pytest.mark.parametrize(
    ("architecture", "capability"),
    [
        *[("sm_80", (8, 0)), ("sm_80", (8, 6)), ("compute_80", (8, 9)), ("compute_80", (12, 0))],
        *[("sm_100", (10, 3)), ("sm_100a", (10, 0)), ("compute_100a", (10, 0))],
        *[("sm_100f", (10, 0)), ("sm_100f", (10, 3)), ("compute_100f", (10, 3)), ("sm_121", (12, 1))],
    ],
)
def test_a_device_is_supported(problem, architecture, capability):
    assert problem(architecture, capability) is None


@pytest.mark.parametrize(
    ("architecture", "capability"),
    [
        *[("sm_86", (8, 0)), ("sm_80", (9, 0)), ("compute_90", (8, 9))],
        *[("sm_100a", (10, 3)), ("compute_100a", (10, 3)), ("compute_100a", (12, 0)), ("sm_90a", (10, 0))],
        *[("sm_100f", (11, 0)), ("compute_100f", (12, 0)), ("sm_103f", (10, 0))],
    ],
)
def test_a_device_is_not_supported(problem, architecture, capability):
    major, minor = capability
    message = (
        f"device 0 (Stand-in) has compute capability {major}.{minor}, but this build of sru-kernels holds "
        f"{architecture}"
    )
    assert problem(architecture, capability) == message


@pytest.mark.skipif(not CMAKE.exists(), reason="the tests are not beside the sources")
@pytest.mark.parametrize(
    "capability",
    [(7, 5), (8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (10, 0), (10, 3), (11, 0), (12, 0), (12, 1), (13, 0)],
)
def test_a_wheel_runs_on_every_gpu_from_turing_on(problem, capability):
    entries = re.search(r"set\(CMAKE_CUDA_ARCHITECTURES (75-real .*)\)", CMAKE.read_text())[1].split()
    built = [f"sm_{entry.removesuffix('-real')}" for entry in entries]
    ptx = [f"compute_{entry}" for entry in entries if not entry.endswith("-real")]
    assert problem(" ".join(built + ptx), capability) is None
