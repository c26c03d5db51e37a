"""A module that learns its initial state begins with it, and learns it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from .one_by_one import by_pieces
from .rows import Row, call, learned, tensors
from .test_sequences import gradients

pytestmark = pytest.mark.usefixtures("implementation")


def initial(module: nn.Module) -> list[Tensor]:
    return [parameter for name, parameter in module.named_parameters() if name.endswith("initial_state")]


@learned()
def test_it_is_there_when_no_state_is_given(row: Row):
    """Outputs, the last state and all gradients equal those with the state passed explicitly."""
    module, x = row.build(), row.inputs(4, 3)
    mask = torch.rand(4, 3) < 0.3
    of = list(module.parameters())
    results = call(module, x, None, mask), call(module, x, row.beginning(module, 3), mask)
    torch.testing.assert_close(*results)
    upstream = tree_map(torch.randn_like, results[0])
    actual, expected = (gradients(result, upstream, of) for result in results)
    torch.testing.assert_close(actual, expected)
    assert all(part.grad is None and gradient.ne(0).any() for part, gradient in zip(of, actual, strict=True))


@learned()
def test_a_given_state_is_used(row: Row):
    """Even zeros. Without a reset, the parameter then does not affect the results."""
    module, x = row.build(), row.inputs(4, 3)
    without = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in initial(without):
            parameter.zero_()
    zeros = tree_map(torch.zeros_like, row.state(module, 3))
    results = call(module, x, zeros)
    torch.testing.assert_close(results, call(without, x), rtol=0, atol=0)
    total = sum(part.sum() for part in tensors(results))
    found = torch.autograd.grad(total, initial(module), allow_unused=True, materialize_grads=True)
    assert all((part == 0).all() for part in found)


@learned()
def test_its_gradient_is_the_sum_over_all_beginnings(row: Row):
    module, x, state = row.build(), row.inputs(5, 3), row.state(row.build(), 3)
    reset = torch.zeros(5, 3, dtype=torch.bool)
    reset[0, 0] = reset[2, 0] = reset[3, 0] = reset[4, 1] = True
    results = call(module, x, state, reset=reset)
    expected = by_pieces(row, module, x, state, None, reset)
    upstream = tree_map(torch.randn_like, results)
    actual, wanted = (gradients(each, upstream, initial(module)) for each in (results, expected))
    torch.testing.assert_close(actual, wanted)
    assert all(part.ne(0).any() for part in actual)


@learned()
def test_it_starts_at_zero_and_can_be_set_back(row: Row):
    module = row.make()
    assert initial(module)
    with torch.no_grad():
        for parameter in initial(module):
            assert (parameter == 0).all()
            parameter.fill_(1.0)
    module.reset_parameters()
    assert all((parameter == 0).all() for parameter in initial(module))


@learned()
def test_state_dicts_tell_whether_it_is_learned(row: Row):
    module = row.build()
    state_dict = module.state_dict()
    names = [name for name in state_dict if name.endswith("initial_state")]
    assert names
    without = {name: value for name, value in state_dict.items() if name not in names}
    with pytest.raises(RuntimeError, match="initial_state"):
        row.make().load_state_dict(without)


@learned()
@torch.no_grad()
def test_a_step_without_a_state_begins_with_it(row: Row):
    if "step" in row.exceptions:
        pytest.skip(row.exceptions["step"])
    module, x = row.build(), row.inputs(1, 3)
    h, last = call(module, x)
    found, carried = module.step(x[0])
    torch.testing.assert_close((found[None], row.end(carried)), (h, last))
    given = row.begin(row.state(module, 3))
    anew, carried = module.step(x[0], given, reset=torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close((anew[None], row.end(carried)), (h, last))
