"""What users of `torch.nn` do to a module works: copies, wrappers, autocast, checkpointing, the compiler."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, parametrize
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint

from sru_nn.compat import GRU, LSTM

from ..conftest import TORCH_2_13, either
from .rows import Row, call, rows, tensors

pytestmark = pytest.mark.usefixtures("implementation")


@pytest.fixture
def given(row: Row) -> tuple[nn.Module, Tensor, Any, Tensor]:
    """A module, its input and state, and a mask of padding."""
    return row.build(), row.inputs(4, 3), row.state(row.build(), 3), torch.rand(4, 3) < 0.3


def a_beginning() -> Tensor:
    """Marks for the input, so that a learned initial state affects the results."""
    return torch.tensor([[False] * 3, [True, False, True], [False] * 3, [False] * 3])


def train_step(module: nn.Module, results: Any) -> list[Tensor]:
    """Return the gradients of all parameters."""
    total = sum(part.double().square().sum() for part in tensors(results))
    return list(torch.autograd.grad(total, [p for p in module.parameters() if p.requires_grad]))


@rows()
def test_copies_are_equal_and_independent(given):
    module, *inputs = given
    expected = call(module, *inputs)
    names = list(module.state_dict())
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    loaded = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(1)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded):
        assert list(twin.state_dict()) == names
        torch.testing.assert_close(call(twin, *inputs), expected, rtol=0, atol=0)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
    torch.testing.assert_close(call(module, *inputs), expected, rtol=0, atol=0)


@rows()
def test_a_module_on_the_meta_device_takes_weights(row: Row, given):
    module, *inputs = given
    with torch.device("meta"):
        empty = row.make()
    assert {tensor.device.type for tensor in empty.state_dict().values()} == {"meta"}
    empty.load_state_dict(module.state_dict(), assign=True)
    torch.testing.assert_close(call(empty, *inputs), call(module, *inputs), rtol=0, atol=0)


@rows()
def test_all_weights_can_be_reinitialised(row: Row):
    """What the constructor draws is drawn again, and what it sets is set again."""
    module, new = row.build(torch.float32), row.make()
    module.reset_parameters()
    for name, value in new.state_dict().items():
        redrawn = module.state_dict()[name]
        if value.unique().numel() < 3 or "gate_bias" in name:
            assert torch.equal(redrawn, value)
        else:
            assert not torch.equal(redrawn, value)


@rows()
def test_functional_call(given):
    module, x, state, mask = given
    other = {
        name: torch.randn_like(value) for name, value in module.named_parameters() if value.requires_grad
    }
    results = functional_call(module, other, (x, state), {"mask_pad": mask})[:2]
    expected = copy.deepcopy(module)
    expected.load_state_dict(module.state_dict() | other)
    torch.testing.assert_close(results, call(expected, x, state, mask))


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.mark.parametrize("length", [4, 1])
@rows()
def test_parametrized_weights(row: Row, length):
    """Each parameter in turn, also in a step without gradients, which takes short cuts."""
    module, x = row.build(), row.inputs(length, 2)
    for name, parameter in list(module.named_parameters()):
        if not parameter.requires_grad:
            continue
        parent, _, leaf = name.rpartition(".")
        changed, expected = copy.deepcopy(module), copy.deepcopy(module)
        parametrize.register_parametrization(changed.get_submodule(parent), leaf, Doubled())
        with torch.no_grad():
            expected.get_parameter(name).mul_(2)
            torch.testing.assert_close(call(changed, x), call(expected, x))


@rows(main=True)
def test_weight_norm(row: Row):
    module, x = row.build(), row.inputs(4, 2)
    expected = call(module, x)
    normed = [child for child in module.modules() if type(child) is nn.Linear]
    for child in normed:
        parametrizations.weight_norm(child)
    torch.testing.assert_close(call(module, x), expected)
    sum(part.sum() for part in tensors(call(module, x))).backward()
    for child in normed:
        assert child.parametrizations.weight.original0.grad.ne(0).any()
    fresh = copy.deepcopy(module)
    fresh.load_state_dict(module.state_dict())
    torch.testing.assert_close(call(fresh, x), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@rows()
def test_autocast(row: Row, dtype):
    module, x = row.build(torch.float32), row.inputs(4, 3, torch.float32)
    state, reset = row.state(module, 3), a_beginning()
    expected = call(module, x, state, reset=reset)
    with torch.autocast("cpu", dtype):
        results = call(module, x, state, reset=reset)
        gradients = train_step(module, results)
    if isinstance(module, (LSTM, GRU)):
        assert results[0].dtype == dtype
    # Not h_n, which is an output.
    assert {part.dtype for part in tensors(results[1])[-1:]} == {torch.float32}
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    assert not torch.equal(results[0].float(), expected[0])  # the products did run in half precision
    if "half" not in row.exceptions:
        torch.testing.assert_close(tree_map(Tensor.float, results), expected, rtol=0.05, atol=0.05)


@either
@rows(main=True)
def test_a_changed_dropout_probability_takes_effect_at_the_next_call(given):
    module, *inputs = given
    module.train()
    expected = call(module, *inputs)
    module.dropout = 0.5
    assert not torch.equal(call(module, *inputs)[0], call(module, *inputs)[0])
    module.dropout = 0.0
    torch.testing.assert_close(call(module, *inputs), expected, rtol=0, atol=0)


@rows()
def test_checkpointing(given):
    module, x, state, mask = given
    mask[1], reset = False, a_beginning()
    expected = call(module, x, state, mask, reset=reset)
    results = checkpoint(call, module, x, state, mask, reset=reset, use_reentrant=False)
    torch.testing.assert_close(results, expected, rtol=0, atol=0)
    torch.testing.assert_close(train_step(module, results), train_step(module, expected))


@rows()
def test_hooks_of_the_module_see_a_call(given):
    module, x, state, mask = given
    seen = []
    module.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    module.register_forward_hook(lambda module, args, output: (2 * output[0], *output[1:]))
    plain = module.forward(x, state, mask_pad=mask)[0]
    torch.testing.assert_close(call(module, x, state, mask)[0], 2 * plain)
    assert len(seen) == 1
    assert seen[0] is x


@pytest.mark.compile
@either
@pytest.mark.usefixtures("one_layer")
@rows(main=True)
def test_the_compiler_makes_one_graph_for_all_shapes(row: Row):
    torch._dynamo.reset()
    module = row.build()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    # Older compilers make a graph for each length of an attention with a mask.
    once = TORCH_2_13 or row.stream is None
    # allow_rnn: without it the compiler traces no subclass of nn.LSTM or nn.GRU.
    with torch._dynamo.config.patch(error_on_recompile=once, allow_rnn=True):
        for length, batch in [(7, 6), (9, 11), (13, 6)]:  # none is a size of a module
            x, state = row.inputs(length, batch).requires_grad_(), row.state(module, batch)
            mask = torch.rand(length, batch) < 0.3
            results, expected = call(compiled, x, state, mask), call(module, x, state, mask)
            torch.testing.assert_close(results, expected)
            torch.testing.assert_close(train_step(module, results), train_step(module, expected))
    torch._dynamo.reset()


@pytest.mark.compile
# torch 2.6 warns about the constants that it puts into a program itself.
@pytest.mark.filterwarnings(
    "ignore:Attempted to insert a get_attr Node:UserWarning", "ignore:.*'get_attr' Nodes:UserWarning"
)
@torch.no_grad()
@either
@rows(main=True)
def test_an_exported_program_computes_the_same(given):
    module, x, state, mask = given
    program = torch.export.export(module.eval(), (x, state), {"mask_pad": mask})
    torch.testing.assert_close(call(program.module(), x, state, mask), call(module, x, state, mask))
