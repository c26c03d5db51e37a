"""Tolerances and inputs shared by the tests of this package."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from torch import Tensor

from sru_nn import backend

TORCH_2_13 = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
# The backends that can run a recurrence here; only Triton if it runs in its interpreter, which is slow.
CHOICES = ["reference", "kernels"] if backend.active() == "kernels" else ["reference"]
CHOICES = ["triton"] if INTERPRETED else CHOICES
# For slow tests, such as those that trace, which hardly depend on the implementation.
either = pytest.mark.parametrize("implementation", CHOICES[-1:], indirect=True)
# The first use of forward mode or of the C++ compiler makes PyTorch script some of its own functions, which
# it has deprecated. The class of the warning depends on the version.
scripts_itself = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script(_method)?` is deprecated:DeprecationWarning",
    "ignore:`torch.jit.script(_method)?` is deprecated:FutureWarning",
)
# opcheck reads .grad of every tensor, and so does the compiler between two graphs.
looks_at_grad = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)

# pytest adds a handler to each logger that does not propagate. If this one has a handler, PyTorch logs
# everything its compiler does, with graphs and stacks: a tenth of the time, and pages in each report.
logging.getLogger("torch.__trace").propagate = True


def random_cases(count: int) -> settings:
    """Try `count` random shapes, the same in every run; fewer in Triton's interpreter, which is slow.

    Examples share fixtures, since none modifies them.
    """
    return settings(
        max_examples=max(4, count // 4) if INTERPRETED else count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


examples = random_cases(8)


# Relative and absolute error allowed per element, against a float64 computation from the same inputs: for the
# results of one recurrence, and for those of a stack of layers, with all gradients.
TOLERANCES = {
    torch.float64: (1e-12, 1e-12),
    torch.float32: (1e-5, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-2),
    torch.float16: (2e-3, 2e-3),
}
STACK_TOLERANCES = {
    torch.float64: (1e-11, 1e-12),
    torch.float32: (1e-4, 3e-5),
    torch.bfloat16: (8e-2, 8e-2),
    torch.float16: (1e-2, 1e-2),
}


@pytest.fixture
def assert_close() -> Callable[[Tensor, Tensor], None]:
    """Compare with the tolerance of the less precise of the two dtypes."""

    def compare(actual: Tensor, expected: Tensor) -> None:
        dtype = max(actual.dtype, expected.dtype, key=lambda dtype: TOLERANCES[dtype])
        rtol, atol = TOLERANCES[dtype]
        torch.testing.assert_close(actual.double(), expected.double(), rtol=rtol, atol=atol)

    return compare


@pytest.fixture(params=CHOICES)
def implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test on each backend."""
    with backend.using(request.param):
        yield request.param


@pytest.fixture(autouse=INTERPRETED, scope="session")
def _as_on_a_gpu() -> Iterator[None]:
    """Make Triton's interpreter detect what only a GPU would."""
    from .support.interpret_triton import as_on_a_gpu

    with as_on_a_gpu():
        yield


@pytest.fixture
def compile_launches() -> Callable[[Callable[[], Any], str], Any]:
    """Compile the Triton kernels that a call launches, for a test marked `triton`."""
    from .support.compile_triton import compile_launches  # only these tests need Triton

    return compile_launches


def pytest_collectstart() -> None:
    """Give modules that are built at import time the same weights in every run."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
