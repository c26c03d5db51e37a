"""`compat.LSTMCell` and `compat.GRUCell` compared with PyTorch's cells and with whole layers."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest
import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from sru_nn.compat import LSTM, GRUCell, LSTMCell

T, B, E, D = 4, 3, 6, 5
PAIRS = pytest.mark.parametrize(("ours", "theirs"), [(LSTMCell, nn.LSTMCell), (GRUCell, nn.GRUCell)])


@PAIRS
@pytest.mark.parametrize("batch", [(B,), ()])
def test_shapes_and_dtypes_match_pytorch(ours, theirs, batch):
    cell, peer, x = ours(E, D), theirs(E, D), torch.randn(*batch, E)
    assert isinstance(cell, theirs)
    results, expected = cell(x), peer(x)
    for _ in range(2):  # the second call takes what the first returned
        assert tree_map(lambda t: (t.shape, t.dtype), results) == tree_map(
            lambda t: (t.shape, t.dtype), expected
        )
        results, expected = cell(x, results), peer(x, expected)
    with torch.autocast("cpu", torch.bfloat16):
        output, *state = tree_leaves(cell(x, results))
    assert output.dtype == torch.bfloat16
    assert [part.dtype for part in state] == [torch.float32] * (ours is LSTMCell)


@PAIRS
def test_arguments_and_copies(ours, theirs):
    names = ["input_size", "hidden_size", "bias", "device", "dtype"]
    assert list(inspect.signature(ours).parameters) == names
    cell = ours(E, D, False, "cpu", torch.float64)
    peer = theirs(E, D, False)
    assert [getattr(cell, name) for name in names[:3]] == [getattr(peer, name) for name in names[:3]]
    assert cell.extra_repr() == peer.extra_repr()
    assert not [name for name, _ in cell.named_parameters() if name.endswith("bias")]
    x = torch.randn(B, E, dtype=torch.float64)
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        torch.testing.assert_close(twin(x), cell(x), rtol=0, atol=0)
    before = cell.layer.transform.weight.clone()
    cell.reset_parameters()
    assert not torch.equal(before, cell.layer.transform.weight)


@pytest.mark.parametrize("size", [E, D])
@torch.no_grad()
def test_a_loop_over_an_lstm_cell_equals_an_lstm(size, assert_close):
    cell, rnn = LSTMCell(size, D), LSTM(size, D)
    rnn.rnn_lst[0].load_state_dict(cell.layer.state_dict())
    x, h, c = torch.randn(T, B, size), torch.randn(B, D), torch.randn(B, D)
    expected, (_, c_n) = rnn(x, (h[None], c[None]))
    for t in range(T):
        h, c = cell(x[t], (h, c))
        assert_close(h, expected[t])
    assert_close(c, c_n[0])


def test_a_gru_cell_uses_its_output_as_state(assert_close):
    cell = GRUCell(E, D)
    x, h = torch.randn(T, B, E), torch.randn(B, D)
    for t in range(T):
        expected, _ = cell.layer(x[t], h)
        h = cell(x[t], h)
        assert_close(h, expected[0])


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = LSTMCell(E, D), GRUCell(D, D)

    def forward(self, x, h, c):
        h, c = self.first(x, (h, c))
        return self.second(h, c), c


@pytest.mark.compile
def test_cells_compile_to_one_graph_for_all_batches():
    torch._dynamo.reset()
    model = Pair()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for batch in (11, 13):
            inputs = torch.randn(batch, E), torch.randn(batch, D), torch.randn(batch, D)
            torch.testing.assert_close(compiled(*inputs), model(*inputs))
    torch._dynamo.reset()


def test_torch_fx_traces_a_cell_as_a_leaf():
    model = nn.Sequential(GRUCell(E, D), nn.Linear(D, 2))
    graph = fx.symbolic_trace(model)
    assert [node.op for node in graph.graph.nodes] == ["placeholder", "call_module", "call_module", "output"]
    x = torch.randn(B, E)
    torch.testing.assert_close(graph(x), model(x), rtol=0, atol=0)


WRONG = {
    "input must have shape (B, E) or (E,) with E = 6, got (4, 3, 6)": (LSTMCell, (T, B, E), None),
    "h0 must have shape (B, D) = (3, 5), got (1, 3, 5)": (LSTMCell, (B, E), ((1, B, D), (B, D))),
    "c0 must have shape (D,) = (5,), got (3, 5)": (LSTMCell, (E,), ((D,), (B, D))),
    "hx must be a pair (h0, c0), got one tensor": (LSTMCell, (B, E), (B, D)),
    "hx must have shape (B, D) = (3, 5), got (1, 5)": (GRUCell, (B, E), (1, D)),
    "hx must be one tensor, got 2 values": (GRUCell, (B, E), ((B, D), (B, D))),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_calls(message):
    kind, x, hx = WRONG[message]

    def zeros(shape):
        return torch.zeros(shape) if isinstance(shape[0], int) else tuple(map(torch.zeros, shape))

    with pytest.raises(ValueError, match=re.escape(f"{kind.__name__}: {message}")):
        kind(E, D)(torch.zeros(x), None if hx is None else zeros(hx))


def test_wrong_dtypes_and_a_lost_h0():
    zeros = torch.zeros(B, D)
    with pytest.raises(ValueError, match="LSTMCell: h0 is not zero but c0 is"):
        LSTMCell(E, D)(torch.zeros(B, E), (zeros + 1, zeros))
    with pytest.raises(TypeError, match=r"GRUCell: hx must be torch\.float32 with the input of"):
        GRUCell(E, D)(torch.zeros(B, E), zeros.half())
    with pytest.raises(TypeError, match=r"GRUCell: hx must be a floating-point tensor, got torch\.int64"):
        GRUCell(E, D)(torch.zeros(B, E), zeros.long())


@PAIRS
def test_weights_of_pytorch_are_refused(ours, theirs):
    with pytest.raises(
        RuntimeError, match=rf"cannot load them; retrain with sru_nn\.compat\.{ours.__name__}\b"
    ):
        ours(E, D).load_state_dict(theirs(E, D).state_dict())
