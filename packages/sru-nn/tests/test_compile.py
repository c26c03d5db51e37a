"""`torch.compile`: one graph, the results and gradients of eager mode, and no new graph for a new length."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from sru_nn import SRU, GatedLinearRNN, MinGRU, SRUCell, SRUpp, compat
from sru_nn.operators import TORCH_2_13

from .conftest import looks_at_grad, scripts_itself

E, D = 5, 6
MODULES = {
    "SRU": lambda: SRU(E, D, 2),
    "bidirectional": lambda: SRU(E, D, 2, bidirectional=True, layer_norm=True, use_tanh=True),
    "custom_m": lambda: SRU(D, D, 1, custom_m=nn.Linear(D, 3 * D), proj_input_to_hidden_first=True),
    "SRUCell": lambda: SRUCell(E, D, normalize_after=True, layer_norm=True, use_relu=True),
    "SRUpp": lambda: SRUpp(E, D, 4, 1, causal=True),
    "LSTM": lambda: compat.LSTM(E, D, 1, bidirectional=True, batch_first=True),
    "GRU": lambda: compat.GRU(E, D, 1),
    "GatedLinearRNN": lambda: GatedLinearRNN(E, D, 1, num_heads=2),
    "MinGRU": lambda: MinGRU(E, D, 1),
}
SHAPES = [(7, 3), (9, 2), (4, 5)]


@pytest.fixture(autouse=True)
def _no_recompiling():
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield
    torch._dynamo.reset()


def tensors(results) -> list[torch.Tensor]:
    """All floating-point tensors of what a module returned."""
    leaves, _ = torch.utils._pytree.tree_flatten(results)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]


def gradients(results, leaves) -> list[torch.Tensor]:
    """Gradients of a sum in which every element has a weight of its own."""
    total = sum((t * torch.linspace(-1, 1, t.numel()).view(t.shape)).sum() for t in tensors(results))
    return list(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True))


def check(compiled, module, *args) -> None:
    leaves = [*tensors(args), *(p for p in module.parameters() if p.requires_grad)]
    ours, eager = compiled(*args), module(*args)
    torch.testing.assert_close(tensors(ours), tensors(eager))
    torch.testing.assert_close(gradients(ours, leaves), gradients(eager, leaves))


@pytest.mark.parametrize("name", MODULES)
def test_one_graph_for_all_lengths_and_batches(name):
    module = MODULES[name]()
    size = D if name == "custom_m" else E
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for length, batch in SHAPES:
        check(compiled, module, torch.randn(length, batch, size, requires_grad=True))


@pytest.mark.usefixtures("implementation")
def test_masks_and_states():  # the graph is the same; the operator in it is not
    module = SRU(E, D, 2, bidirectional=True)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for length, batch in SHAPES:
        x = torch.randn(length, batch, E, requires_grad=True)
        c0 = torch.randn(2, batch, 2 * D, requires_grad=True)
        check(compiled, module, x, c0, torch.rand(length, batch) < 0.4)


@torch.no_grad()
def test_decoding_makes_one_graph_for_all_steps():
    module = SRU(E, D, 2).eval()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    x, c = torch.randn(6, 3, E), torch.zeros(2, 3, D)
    expected, last = module(x)
    outputs = []
    for step in x.split(1):
        h, c = compiled(step, c)
        outputs.append(h)
    torch.testing.assert_close((torch.cat(outputs), c), (expected, last))


def test_dropout_is_drawn_anew_in_each_call():
    module = SRU(E, D, 2, dropout=0.5, rnn_dropout=0.2)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    x = torch.randn(4, 3, E)
    first, second = compiled(x)[0], compiled(x)[0]
    assert first.isfinite().all()
    assert not torch.equal(first, second)


@looks_at_grad
@pytest.mark.skipif(not TORCH_2_13, reason="older compilers fail on padding a PackedSequence")
def test_a_packed_sequence_breaks_the_graph_and_nothing_else():
    module = SRU(E, D, 2, bidirectional=True)
    compiled = torch.compile(module, backend="aot_eager")
    packed = pack_sequence([torch.randn(length, E) for length in (2, 5, 3)], enforce_sorted=False)
    (h, c), (h_eager, c_eager) = compiled(packed), module(packed)
    assert isinstance(h, PackedSequence)
    torch.testing.assert_close(pad_packed_sequence(h)[0], pad_packed_sequence(h_eager)[0])
    torch.testing.assert_close(c, c_eager)


def test_autocast():
    module, x = SRU(E, D, 2), torch.randn(4, 3, E)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(compiled(x), module(x))


# Writing and compiling C++ takes most of the time of this file.
@scripts_itself
@pytest.mark.filterwarnings("ignore:Skipping serialization")
def test_inductor():
    module = SRU(E, D, 1, layer_norm=True)
    compiled = torch.compile(module, fullgraph=True, dynamic=True)
    for length, batch in SHAPES[:2]:
        check(compiled, module, torch.randn(length, batch, E, requires_grad=True))
