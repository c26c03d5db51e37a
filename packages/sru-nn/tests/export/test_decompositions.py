"""`torch.export` with the operator in the graph, and with PyTorch's own operators in its place."""

from __future__ import annotations

import io
import itertools

import pytest
import torch
from torch import nn
from torch.export import Dim
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.rnn import pack_padded_sequence

from sru_nn import SRU, GatedLinearRNN, MinGRU, pieces
from sru_nn.cells.sru import operator as ops
from sru_nn.cells.sru.plain import PieceInputs
from sru_nn.export import decompositions, operators, to_onnx

from .conftest import LENGTHS, D, E, L, needs_scan

OPERATOR = torch.ops.sru_nn.sru_forward.default
PIECES = torch.ops.sru_nn.sru_pieces_forward.default
GATED_PIECES = torch.ops.sru_nn.gated_linear_pieces_forward.default
CU_SEQLENS = torch.tensor([0, 2, 2, 5, 6])


def targets(program) -> list:
    return [node.target for node in program.graph.nodes if node.op == "call_function"]


def saved_and_loaded(program):
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


@torch.no_grad()
def test_the_operator_stays_in_the_graph(everything, inputs, shapes):
    program = torch.export.export(everything, inputs(4, 3), dynamic_shapes=shapes)
    assert targets(program).count(OPERATOR) == L
    run = saved_and_loaded(program).module()
    for length, batch in LENGTHS:
        args = inputs(length, batch)
        torch.testing.assert_close(run(*args), everything(*args))


@needs_scan
@torch.no_grad()
def test_a_loop_takes_its_place(everything, inputs, shapes):
    program = torch.export.export(everything, inputs(4, 3), dynamic_shapes=shapes)
    program = program.run_decompositions(decompositions())
    assert OPERATOR not in targets(program)
    assert targets(program).count(torch.ops.higher_order.scan) == L
    run = program.module()
    for length, batch in LENGTHS:
        args = inputs(length, batch)
        torch.testing.assert_close(run(*args), everything(*args))


@torch.no_grad()
def test_a_single_step_needs_no_loop():
    rnn, x, c = SRU(E, D, L).eval(), torch.randn(1, 3, E), torch.randn(L, 3, D)
    batch = Dim("batch")
    program = torch.export.export(rnn, (x, c), dynamic_shapes=({1: batch}, {1: batch}))
    program = program.run_decompositions(decompositions())
    assert not [target for target in targets(program) if "sru_nn" in str(target) or "scan" in str(target)]
    torch.testing.assert_close(program.module()(x[:, :2], c[:, :2].clone()), rnn(x[:, :2], c[:, :2].clone()))


@torch.no_grad()
@pytest.mark.parametrize("per_position", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_every_argument(length, per_position):
    """Compare the table's decomposition with the operator itself."""
    decomposed = decompositions()[OPERATOR]
    batch, columns = 2, 4
    for gates, bidirectional, activation, dropped in itertools.product(
        (3, 4), (False, True), ("identity", "tanh", "relu"), (False, True)
    ):
        inputs = ops.Inputs(
            u=torch.randn(length, batch, gates, columns),
            v=torch.randn(*((length, batch) if per_position else ()), 2, columns),
            bias=torch.randn(2, columns),
            c0=torch.randn(batch, columns) if bidirectional else None,
            x=torch.randn(length, batch, columns) if gates == 3 else None,
            mask_c=torch.rand(batch, columns).round() * 2 if dropped else None,
            mask_pad=torch.rand(length, batch) < 0.4 if dropped else None,
            bidirectional=bidirectional,
            activation=activation,
            scale_x=1.3 if gates == 3 else 1.0,
        )
        torch.testing.assert_close(decomposed(*inputs, False)[:2], OPERATOR(*inputs, False)[:2])


@torch.no_grad()
@pytest.mark.parametrize("per_position", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_every_argument_where_rows_restart(length, per_position):
    batch, columns = 2, 4
    for bidirectional, padded, learned in itertools.product((False, True), repeat=3):
        reset, mask_pad = torch.rand(2, length, batch) < 0.4
        inputs = PieceInputs(
            u=torch.randn(length, batch, 4, columns),
            v=torch.randn(*((length, batch) if per_position else ()), 2, columns),
            bias=torch.randn(2, columns),
            c0=torch.randn(batch, columns),
            c_reset=torch.randn(columns) if learned else None,
            marks=pieces.marks(mask_pad if padded else None, reset, bidirectional),
            bidirectional=bidirectional,
        )
        torch.testing.assert_close(decompositions()[PIECES](*inputs, False)[:2], PIECES(*inputs, False)[:2])


@torch.no_grad()
@pytest.mark.parametrize("cu_seqlens", [CU_SEQLENS, CU_SEQLENS[:2], torch.tensor([0, 0, 1]), torch.zeros(3)])
def test_every_argument_of_sequences_end_to_end(cu_seqlens):
    cu_seqlens = cu_seqlens.long()
    total, count, columns = int(cu_seqlens[-1]), len(cu_seqlens) - 1, 4
    for bidirectional, per_position, given, dropped in itertools.product((False, True), repeat=4):
        inputs = PieceInputs(
            u=torch.randn(total, 1, 3, columns),
            v=torch.randn(*((total, 1) if per_position else ()), 2, columns),
            bias=torch.randn(2, columns),
            c0=torch.randn(count, columns) if given else None,
            x=torch.randn(total, 1, columns),
            mask_c=torch.rand(count, columns).round() * 2 if dropped else None,
            cu_seqlens=cu_seqlens,
            bidirectional=bidirectional,
            scale_x=1.3,
        )
        torch.testing.assert_close(decompositions()[PIECES](*inputs, False)[:2], PIECES(*inputs, False)[:2])


@torch.no_grad()
def test_an_older_torch_unrolls_a_fixed_length_and_refuses_any_other(monkeypatch):
    rnn, x = SRU(E, D, 1).eval(), torch.randn(3, 2, E)
    monkeypatch.setattr(operators, "TORCH_2_13", False)
    fixed = torch.export.export(rnn, (x,)).run_decompositions(decompositions())
    torch.testing.assert_close(fixed.module()(x), rnn(x))
    program = torch.export.export(rnn, (x,), dynamic_shapes=({0: Dim("time")},))
    with pytest.raises(RuntimeError, match=r"any length needs torch 2\.13.*fixed length"):
        program.run_decompositions(decompositions())


REFUSED = r"^sru_nn\.export\.decompositions: the graph computes gradients.*without its loss"


@pytest.mark.parametrize("name", ["sru", "sru_pieces", "gated_linear", "gated_linear_pieces", "ligru"])
def test_no_operator_of_a_backward_pass_is_replaced(name):
    operator = getattr(torch.ops.sru_nn, f"{name}_backward").default
    with pytest.raises(RuntimeError, match=REFUSED):
        decompositions()[operator]()


def test_a_graph_with_its_backward_pass_is_refused():
    rnn = SRU(E, D, 1)

    def gradient(x: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(rnn(x)[0].sum(), x)[0]

    x = torch.randn(1, 2, E, requires_grad=True)
    assert torch.ops.sru_nn.sru_backward.default in targets(make_fx(gradient)(x))
    with pytest.raises(RuntimeError, match=REFUSED):
        make_fx(gradient, decomposition_table=decompositions())(x)


@needs_scan
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_what_is_refused_names_what_was_called(tmp_path):
    class Packs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = SRU(E, D, 1)

        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return self.rnn(pack_padded_sequence(x, lengths))[1]

    model, args, path = Packs().eval(), (torch.randn(3, 2, E), torch.tensor([3, 2])), tmp_path / "model.onnx"
    with pytest.raises(RuntimeError, match=r"^to_onnx: the program lays out a PackedSequence"):
        to_onnx(model, args, path)
    with pytest.raises(Exception, match="export") as refused:
        torch.onnx.export(model, args, path, dynamo=True, verbose=False)
    assert str(refused.value.__cause__).startswith("torch.onnx.export: the program lays out a PackedSequence")


@needs_scan
def test_a_distributed_tensor_supports_a_step_and_refuses_anything_else(tmp_path):
    """PyTorch consults the table of decompositions for how our operators propagate shards."""
    tensor = pytest.importorskip("torch.distributed.tensor", reason="this PyTorch was built without it")
    distributed, rnn, x = torch.distributed, SRU(E, D, 1), torch.randn(4, 2, E)
    expected = rnn(x[:1])[0]
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = distributed.device_mesh.init_device_mesh("cpu", (1,))
        tensor.distribute_module(rnn, mesh)
        x = tensor.distribute_tensor(x, mesh, [tensor.Shard(1)])
        with torch.no_grad():
            torch.testing.assert_close(rnn(x[:1])[0].full_tensor(), expected)
            with pytest.raises(NotImplementedError, match=r"sru_forward\.default does not have a sharding"):
                rnn(x)
        with pytest.raises(NotImplementedError, match=r"sru_backward\.default does not have a sharding"):
            rnn(x[:1])[0].sum().backward()
    finally:
        distributed.destroy_process_group()


@needs_scan
@torch.no_grad()
@pytest.mark.parametrize(
    ("build", "operators_of"),
    [
        (
            lambda: GatedLinearRNN(E, D, L, num_heads=2, key_size=4, output_gate=True),
            "gated_linear_forward",
        ),
        (lambda: MinGRU(E, D, L), "sru_forward"),
    ],
    ids=["gated linear", "minGRU"],
)
def test_the_other_recurrences_become_loops_too(build, operators_of):
    # In float64, because the norm of the gated linear RNN can divide by a small number.
    rnn = build().double()
    time, batch = Dim("time"), Dim("batch")

    def make(length: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        _, state = rnn(torch.randn(2, size, E, dtype=torch.float64))
        return torch.randn(length, size, E, dtype=torch.float64), state, torch.rand(length, size) < 0.4

    shapes = {0: time, 1: batch}, {1: batch}, {0: time, 1: batch}
    program = torch.export.export(rnn.eval(), make(4, 3), dynamic_shapes=shapes)
    assert [operators_of in str(target) for target in targets(program)].count(True) == L
    program = program.run_decompositions(decompositions())
    assert not [target for target in targets(program) if "sru_nn" in str(target)]
    for args in (make(7, 3), make(20, 2), make(40, 4)):
        torch.testing.assert_close(program.module()(*args), rnn(*args), rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("length", [0, 1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gated_linear_recurrence_of_the_table(length, with_state, dtype):
    operator = torch.ops.sru_nn.gated_linear_forward.default
    q, k, v = (torch.randn(length, 2, 3, 4, dtype=dtype) for _ in range(3))
    log_g = -torch.rand(length, 2, 3, 4)
    given = (q, k, v, log_g, torch.randn(2, 3, 4, 4) if with_state else None, False)
    torch.testing.assert_close(decompositions()[operator](*given), operator(*given))


@torch.no_grad()
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("length", [0, 1, 5])
def test_the_gated_linear_recurrence_where_rows_restart(length, learned):
    q, k, v = (torch.randn(length, 2, 3, 4) for _ in range(3))
    marks = pieces.marks(None, torch.rand(length, 2) < 0.4, False)
    s_reset = torch.randn(3, 4, 4) if learned else None
    given = (q, k, v, -torch.rand(length, 2, 3, 4), torch.randn(2, 3, 4, 4), s_reset, marks, None, False)
    torch.testing.assert_close(decompositions()[GATED_PIECES](*given)[:2], GATED_PIECES(*given)[:2])


@torch.no_grad()
@pytest.mark.parametrize("cu_seqlens", [CU_SEQLENS, torch.tensor([0, 0, 1])])
def test_the_gated_linear_recurrence_of_sequences_end_to_end(cu_seqlens):
    total, count = int(cu_seqlens[-1]), len(cu_seqlens) - 1
    q, k, v = (torch.randn(total, 1, 3, 4) for _ in range(3))
    for s0 in (None, torch.randn(count, 3, 4, 4)):
        given = (q, k, v, -torch.rand(total, 1, 3, 4), s0, None, None, cu_seqlens, False)
        torch.testing.assert_close(decompositions()[GATED_PIECES](*given)[:2], GATED_PIECES(*given)[:2])
