"""Models with resets, concatenated or packed sequences and a learned state, exported for any lengths."""

from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from sru_nn import SRU, GatedLinearRNN, MinGRU, SLiGRU, SRUpp
from sru_nn.export import decompositions

from .conftest import D, E, needs_scan

pytestmark = needs_scan
RNNS = {
    "SRU": lambda: SRU(E, D, 1, bidirectional=True, layer_norm=True, learn_initial_state=True),
    "SRU++": lambda: SRUpp(E, D, 4, 1, learn_initial_state=True),
    "SLi-GRU": lambda: SLiGRU(E, D, bidirectional=True, normalization="layer", learn_initial_state=True),
    "minGRU": lambda: MinGRU(E, D, 1, learn_initial_state=True),
    "gated linear": lambda: GatedLinearRNN(E, D, 1, num_heads=2, key_size=4, learn_initial_state=True),
}


@pytest.fixture(params=RNNS)
def rnn(request: pytest.FixtureRequest) -> nn.Module:
    """A module in evaluation mode, its learned state away from zero."""
    module = RNNS[request.param]().eval()
    for name, parameter in module.named_parameters():
        if name.endswith("initial_state"):
            nn.init.normal_(parameter)
    return module


def without_operators(program: ExportedProgram) -> nn.Module:
    program = program.run_decompositions(decompositions())
    assert not [node for node in program.graph.nodes if "sru_nn" in str(node.target)]
    return program.module()


class WithReset(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor, mask_pad: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
        h, state, *_ = self.rnn(x, mask_pad=mask_pad, reset=reset)
        return h, state


@torch.no_grad()
def test_resets(rnn):
    model, time, batch = WithReset(rnn), Dim("time"), Dim("batch")

    def make(length: int, size: int) -> tuple[Tensor, ...]:
        return torch.randn(length, size, E), torch.rand(length, size) < 0.3, torch.rand(length, size) < 0.4

    shapes = ({0: time, 1: batch},) * 3
    program = torch.export.export(model, make(4, 3), dynamic_shapes=shapes)
    loop = without_operators(program)
    for args in (make(7, 3), make(20, 2)):
        torch.testing.assert_close(program.module()(*args), model(*args))
        torch.testing.assert_close(loop(*args), model(*args), rtol=1e-5, atol=1e-5)


class EndToEnd(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
        h, state, *_ = self.rnn(x, cu_seqlens=cu_seqlens)
        return h, state


@torch.no_grad()
def test_sequences_end_to_end(rnn):
    model = EndToEnd(rnn)

    def make(*lengths: int) -> tuple[Tensor, Tensor]:
        return torch.randn(sum(lengths), E), torch.tensor([0, *lengths]).cumsum(0)

    # The compiler treats one sequence as a different shape; adding an empty one helps.
    shapes = {0: Dim("total")}, {0: Dim("sequences") + 1}
    program = torch.export.export(model, make(3, 0, 4, 2), dynamic_shapes=shapes)
    loop = without_operators(program)
    for args in (make(2, 7, 1, 0), make(5, 0)):
        torch.testing.assert_close(program.module()(*args), model(*args))
        torch.testing.assert_close(loop(*args), model(*args), rtol=1e-5, atol=1e-5)


class Packed(nn.Module):
    """`torch.export` accepts no shapes for a `PackedSequence`, so its tensors are the arguments."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(
        self, data: Tensor, batch_sizes: Tensor, order: Tensor | None = None, back: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        h, state, *_ = self.rnn(PackedSequence(data, batch_sizes, order, back))
        return h.data, state


@torch.no_grad()
@pytest.mark.parametrize(("kind", "strict", "enforce_sorted"), [("SRU", True, True), ("SRU++", False, False)])
def test_packed_sequences(kind, strict, enforce_sorted):
    # The mask of the attention needs the number of sequences, which only sorted_indices provides.
    model = Packed(RNNS[kind]().eval())

    def make(*lengths: int) -> PackedSequence:
        return pack_sequence([torch.randn(length, E) for length in lengths], enforce_sorted)

    time, total, batch = Dim("time"), Dim("total"), Dim("batch")
    shapes = {0: total}, {0: time}, *[None if enforce_sorted else {0: batch}] * 2
    program = torch.export.export(model, tuple(make(9, 4, 2)), dynamic_shapes=shapes, strict=strict)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    run = torch.export.load(file).module()
    for args in (make(7, 7, 4, 1), make(20, 2)):
        torch.testing.assert_close(run(*args), model(*args))
    with pytest.raises(RuntimeError, match=r"lays out a PackedSequence.*with cu_seqlens, or padded"):
        program.run_decompositions(decompositions())
