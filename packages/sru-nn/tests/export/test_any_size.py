"""`torch.export` of every module keeps its operators, for any length and batch."""

from __future__ import annotations

import pytest
import torch
from torch.export import Dim

from sru_nn import SRU, GatedLinearRNN, LiGRU, MinGRU, SRUCell, SRUpp
from sru_nn.compat import GRU, LSTM

from ..conftest import TORCH_2_13
from .conftest import D, E

MODULES = {
    "LSTM": lambda: LSTM(E, D, 2, bidirectional=True, proj_size=3),
    "GRU": lambda: GRU(E, D, 2, bidirectional=True, batch_first=True),
    "SRU": lambda: SRU(E, D, 2, bidirectional=True, nn_rnn_compatible_return=True),
    "SRUCell": lambda: SRUCell(E, D),
    "SRUpp": lambda: SRUpp(E, D, 4, 1),
    "LiGRU": lambda: LiGRU(E, D, bidirectional=True),
    "MinGRU": lambda: MinGRU(E, D, 1),
    "GatedLinearRNN": lambda: GatedLinearRNN(E, D, 1, num_heads=2),
}


@pytest.mark.skipif(not TORCH_2_13, reason="older exporters take a size of one for a constant")
@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES)
def test_an_example_with_one_sequence(build):
    """As `torch.onnx.export` calls it."""
    module = build().eval()
    shapes = ({0: Dim("first"), 1: Dim("second")},)
    with torch.fx.experimental._config.patch(backed_size_oblivious=True):
        program = torch.export.export(module, (torch.randn(4, 1, E),), dynamic_shapes=shapes)
    assert any("sru_nn" in str(node.target) for node in program.graph.nodes)
    run = program.module()
    for x in (torch.randn(7, 2, E), torch.randn(1, 3, E)):
        torch.testing.assert_close(run(x), module(x))
