"""`torch.compile` of an SRU beyond what tests/contract asks of every module."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from sru_nn import SRU

from .conftest import TORCH_2_13, scripts_itself

pytestmark = pytest.mark.compile
E, D = 5, 6


@pytest.fixture(autouse=True)
def _no_recompiling():
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield
    torch._dynamo.reset()


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


def test_each_call_draws_new_dropout():
    module = SRU(E, D, 2, dropout=0.5, rnn_dropout=0.2)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    x = torch.randn(4, 3, E)
    first, second = compiled(x)[0], compiled(x)[0]
    assert first.isfinite().all()
    assert not torch.equal(first, second)


@pytest.mark.skipif(not TORCH_2_13, reason="older compilers take no data-dependent number of sequences")
def test_packed_sequences_of_fifty_lengths_make_one_graph():
    """Sorted, without a state: only the values of `batch_sizes` determine the number of sequences."""
    module = SRU(E, D, 1, bidirectional=True)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for longest in range(7, 57):
        lengths = torch.randint(1, longest, (1 + longest % 9,)).sort(descending=True).values
        packed = pack_sequence([torch.randn(length, E) for length in (longest, *lengths.tolist())])
        packed.data.requires_grad_()
        results, expected = compiled(packed), module(packed)
        assert results[0].batch_sizes is packed.batch_sizes
        weights = torch.randn_like(expected[0].data)
        for actual, wanted in zip(*(((h.data, c) for h, c in (results, expected))), strict=True):
            torch.testing.assert_close(actual, wanted)
        gradients = [
            torch.autograd.grad((h.data * weights).sum() + c.sum(), [packed.data, *module.parameters()])
            for h, c in (results, expected)
        ]
        torch.testing.assert_close(*gradients)


@pytest.mark.skipif(not TORCH_2_13, reason="older compilers cannot lay out a PackedSequence")
def test_a_state_for_another_number_of_packed_sequences():
    module = SRU(E, D, 1)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    packed = pack_sequence([torch.randn(length, E) for length in (7, 4, 3)])
    c0 = torch.randn(1, 3, D)
    torch.testing.assert_close(compiled(packed, c0)[1], module(packed, c0)[1])
    with pytest.raises(RuntimeError, match="Runtime assertion failed"):
        compiled(packed, torch.randn(1, 4, D))


def test_autocast():
    module, x = SRU(E, D, 2), torch.randn(4, 3, E)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(compiled(x), module(x))


# Writing and compiling C++ takes most of the time of this file.
@scripts_itself
@pytest.mark.filterwarnings("ignore:Skipping serialization")
def test_inductor(monkeypatch):
    monkeypatch.setenv("CI", "true")  # its checks of PyTorch's own operators must not apply to ours
    module = SRU(E, D, 1, layer_norm=True)
    compiled = torch.compile(module, fullgraph=True, dynamic=True)
    for length, batch in [(7, 3), (9, 2)]:
        x = torch.randn(length, batch, E, requires_grad=True)
        results = compiled(x), module(x)
        torch.testing.assert_close(*results)
        weights = torch.randn_like(results[0][0])
        gradients = [
            torch.autograd.grad((h * weights).sum() + c.sum(), [x, *module.parameters()]) for h, c in results
        ]
        torch.testing.assert_close(*gradients)
