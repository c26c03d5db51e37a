"""Fixtures for the tests of all export formats."""

from __future__ import annotations

import pytest
import torch
from torch.export import Dim

from sru_nn import SRU

from ..conftest import TORCH_2_13

needs_scan = pytest.mark.skipif(
    not TORCH_2_13, reason="a dynamic time axis in plain operations needs torch 2.13"
)
# torch.export itself causes this warning.
quiet = pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning")

E, D, L = 5, 6, 2
LENGTHS = [(7, 3), (1, 1), (20, 2), (1, 4)]


def pytest_collection_modifyitems(items):
    """Mark every test in this folder, since all of them export."""
    for item in items:
        if "export" in item.path.parent.name:
            item.add_marker(pytest.mark.compile)
            item.add_marker(quiet)


@pytest.fixture
def everything():
    """Return a module with all features: both directions, K = 4 and 3, a norm, a state and a mask."""
    return SRU(E, D, L, bidirectional=True, layer_norm=True, use_tanh=True).eval()


@pytest.fixture
def inputs():
    """Return a function that makes inputs of `everything` for a length and a batch."""

    def make(length: int, batch: int) -> tuple[torch.Tensor, ...]:
        c0 = torch.randn(L, batch, 2 * D)
        return torch.randn(length, batch, E), c0, torch.rand(length, batch) < 0.4

    return make


@pytest.fixture
def shapes():
    """Return the dynamic axes of these inputs."""
    time, batch = Dim("time"), Dim("batch")
    return {0: time, 1: batch}, {1: batch}, {0: time, 1: batch}
