"""The zeros of `bias=False` and `v1=True` cannot be trained or initialised away."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sru_nn import SRU, SRUCell
from sru_nn.compat import GRU, LSTM

from .rows import call, tensors

WITHOUT = {
    "SRU, v1": (lambda **options: SRU(5, 4, 2, bidirectional=True, **options), {"v1": True}, "weight_c"),
    "SRUCell, v1": (lambda **options: SRUCell(5, 4, **options), {"v1": True}, "weight_c"),
    "LSTM, no bias": (lambda **options: LSTM(5, 4, 2, proj_size=2, **options), {"bias": False}, "bias"),
    "GRU, no bias": (lambda **options: GRU(5, 4, 2, **options), {"bias": False}, "bias"),
}


@pytest.fixture(params=WITHOUT)
def case(request):
    make, option, name = WITHOUT[request.param]
    return make, option, name


def zeros(module: nn.Module, name: str) -> list[torch.Tensor]:
    return [getattr(cell, name) for cell in module.modules() if isinstance(cell, SRUCell)]


def test_they_survive_training_and_initialisation(case):
    make, option, name = case
    module = make(**option)
    for parameter in module.parameters():
        parameter.requires_grad_()
        nn.init.normal_(parameter)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    sum(part.square().sum() for part in tensors(call(module, torch.randn(3, 2, 5)))).backward()
    optimizer.step()
    assert all(part.eq(0).all() for part in zeros(module, name))
    fresh = make(**option)
    fresh.load_state_dict(module.state_dict())
    x = torch.randn(3, 2, 5)
    torch.testing.assert_close(fresh(x), module(x), rtol=0, atol=0)
    module.reset_parameters()
    assert all(part.eq(0).all() for part in zeros(module, name))


def test_the_state_dict_is_that_of_a_module_which_has_them(case):
    make, option, name = case
    without, usual = make(**option), make()
    assert without.state_dict().keys() == usual.state_dict().keys()
    assert len(list(without.parameters())) == len(list(usual.parameters())) - len(zeros(without, name))
    with torch.no_grad():
        for part in zeros(usual, name):
            part.zero_()
    without.load_state_dict(usual.state_dict())
    usual.load_state_dict(without.state_dict())
    x = torch.randn(3, 2, 5)
    torch.testing.assert_close(without(x), usual(x))


def test_they_have_the_dtype_of_the_module(case):
    make, option, name = case
    assert {part.dtype for part in zeros(make(**option).double(), name)} == {torch.float64}


def test_zeros_that_are_not_zero_are_refused(case):
    make, option, name = case
    state_dict = make().state_dict()
    for key in state_dict:
        if key.endswith(name) and "norm" not in key:
            state_dict[key] = torch.ones_like(state_dict[key])
    option, value = next(iter(option.items()))
    with pytest.raises(RuntimeError, match=f"{option}: this module has {value}, the state dict {not value}"):
        make(**{option: value}).load_state_dict(state_dict)
