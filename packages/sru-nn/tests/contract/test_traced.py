"""`torch.fx.symbolic_trace` keeps a recurrent module whole, as it does one of `torch.nn`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from .rows import Row, rows


class Tagger(nn.Module):
    def __init__(self, rnn: nn.Module, features: int) -> None:
        super().__init__()
        self.rnn, self.head = rnn, nn.Linear(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.rnn(x)[0]))


@rows()
def test_a_model_around_it(row: Row):
    rnn, x = row.build(), row.inputs(4, 2)
    model = Tagger(rnn, rnn(x)[0].shape[-1]).double()
    traced = fx.symbolic_trace(model)
    modules = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    assert modules == ["rnn", "head"]
    torch.testing.assert_close(traced(x), model(x))
    assert traced.state_dict().keys() == model.state_dict().keys()


class Stepper(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        h, state = unpacked(self.rnn.step(x, state))
        return torch.relu(h), state


def unpacked(results: Any) -> tuple[Any, Any]:
    return results[0], results[1]


@pytest.mark.parametrize("batch_first", [False, True])
@rows("step")
def test_a_model_that_takes_a_step(row: Row, batch_first: bool):
    rnn, x = row.build(), row.inputs(1, 2)[0]
    rnn.batch_first = batch_first
    model = Stepper(rnn)
    if row.stream is not None:
        with pytest.raises(fx.proxy.TraceError, match=r"torch.fx cannot record SRUpp\.step"):
            fx.symbolic_trace(model)
        return
    traced = fx.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["rnn"]
    state = row.state(rnn, 2)
    torch.testing.assert_close(traced(x, state), model(x, state))


@rows()
@pytest.mark.parametrize("way", ["hook", "subclass"])
def test_what_would_happen_twice_is_refused(row: Row, way: str):
    rnn = row.build()
    if way == "hook":
        rnn.register_forward_hook(lambda module, given, result: (2 * result[0], *result[1:]))
    else:
        kind = type(rnn)
        forward = lambda self, *args, **kwargs: kind.forward(self, *args, **kwargs)  # noqa: E731
        rnn.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": __name__})
    with pytest.raises(fx.proxy.TraceError, match="with a hook, or whose class overrides forward"):
        fx.symbolic_trace(Tagger(rnn, 3))
