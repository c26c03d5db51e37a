"""`torch.jit.trace` keeps the operators, for all sizes; `torch.jit.script` says what to do instead."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sru_nn import SRU

from .rows import Row, call, rows

pytestmark = [
    pytest.mark.filterwarnings(
        # The class of the first warning depends on the version. PyTorch's filter for its own modules, which
        # ours copies, does not survive pytest's.
        "ignore:`torch.jit.(trace|trace_method|script)` is deprecated",
        "ignore::torch.jit.TracerWarning",
    )
]


class Tagger(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, state = call(self.rnn, x)
        return h.relu(), state


@pytest.mark.usefixtures("implementation", "one_layer")
@rows(main=True)
def test_a_trace(row: Row):
    model = Tagger(row.build())
    traced = torch.jit.trace(model, row.inputs(4, 2))  # PyTorch traces a second time, without gradients
    for length, batch in [(7, 3), (1, 1)]:
        x = row.inputs(length, batch).requires_grad_()
        results, expected = traced(x), model(x)
        torch.testing.assert_close(results, expected)
        gradients = [
            torch.autograd.grad(h.square().sum(), [x, *model.parameters()]) for h, *_ in (results, expected)
        ]
        torch.testing.assert_close(*gradients)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")
def test_the_graph_of_tensorboard(tmp_path: Path):
    from torch.utils.tensorboard._pytorch_graph import graph

    nodes = graph(Tagger(SRU(5, 8, 2)), torch.randn(4, 2, 5))[0].node
    places = {node.name.rpartition("/")[0] for node in nodes if node.op == "sru_nn::sru_forward"}
    assert places == {"Tagger/SRU[rnn]/SRUCell[0]", "Tagger/SRU[rnn]/SRUCell[1]"}


@pytest.mark.usefixtures("one_layer")
@rows(main=True)
def test_scripting_is_refused(row: Row):
    rnn = row.build()
    for module in (
        rnn,
        Tagger(rnn),
        *(part for part in rnn.modules() if type(part).__module__.startswith("sru_nn")),
    ):
        with pytest.raises(NotImplementedError, match=r"torch\.export.*to_aoti.*to_onnx"):
            torch.jit.script(module)
