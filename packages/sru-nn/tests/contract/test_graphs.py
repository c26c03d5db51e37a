"""Resets, concatenated and packed sequences and a learned state in a full graph, for any lengths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from ..conftest import TORCH_2_13, either
from .rows import Row, call, learned, tensors

pytestmark = [
    pytest.mark.compile,
    pytest.mark.usefixtures("implementation", "one_layer"),
    pytest.mark.skipif(not TORCH_2_13, reason="older compilers take no data-dependent number of sequences"),
]


@pytest.fixture(autouse=True)
def _no_recompiling() -> Iterator[None]:
    torch._dynamo.reset()
    # allow_rnn: without it the compiler traces no subclass of nn.LSTM or nn.GRU.
    with torch._dynamo.config.patch(error_on_recompile=True, allow_rnn=True):
        yield
    torch._dynamo.reset()


def compiled(module: nn.Module) -> Any:
    return torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")


def gradients(module: nn.Module, results: Any, *wanted: Tensor) -> tuple[Tensor | None, ...]:
    total = sum(part.square().sum() for part in tensors(results))
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.autograd.grad(total, [*wanted, *learned], allow_unused=True)


def check(module: nn.Module, run: Any, x: Any, state: Any = None, **options: Tensor) -> None:
    """Compare the compiled module with the module itself, with all gradients."""
    leaf = x.data if isinstance(x, PackedSequence) else x
    leaf.requires_grad_()
    results, expected = call(run, x, state, **options), call(module, x, state, **options)
    torch.testing.assert_close(tensors(results), tensors(expected))
    torch.testing.assert_close(gradients(module, results, leaf), gradients(module, expected, leaf))


@either
@learned()
def test_resets_and_padding(row: Row):
    module = row.build()
    run = compiled(module)
    for length, batch in [(7, 6), (9, 11)]:  # none is a size of a module
        reset, mask = torch.rand(2, length, batch) < 0.3
        check(module, run, row.inputs(length, batch), mask_pad=mask, reset=reset)


@either
@learned()
def test_sequences_end_to_end(row: Row):
    module = row.build()
    run = compiled(module)
    for lengths in [(4, 0, 9, 7, 3, 1), (6, 6, 2)]:
        cu_seqlens = torch.tensor([0, *lengths]).cumsum(0)
        x = row.inputs(sum(lengths), 1).squeeze(1)
        check(module, run, x, row.state(module, len(lengths)), cu_seqlens=cu_seqlens)


@either
@learned("SRU", "LSTM")
def test_packed_sequences(row: Row):
    module = row.build()
    run = compiled(module)
    for lengths in [(9, 11, 7, 3, 4, 1), (16, 2, 6)]:
        packed = pack_sequence([row.inputs(length, 1).squeeze(1) for length in lengths], False)
        check(module, run, packed, row.state(module, len(lengths)))
