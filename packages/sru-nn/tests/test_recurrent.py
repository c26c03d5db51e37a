"""The base of the recurrent modules: combined with other bases, and input that all of them refuse."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from sru_nn import SRU, GatedLinearRNN, LiGRU, MinGRU, SRUCell, SRUpp
from sru_nn.compat import GRU, LSTM
from sru_nn.recurrent import Recurrent

T, B, E, D, L = 5, 3, 4, 6, 2


class Ours(Recurrent, nn.GRU):
    """PyTorch's own recurrence behind the interface of this package."""

    def forward(self, x, state=None, mask_pad=None):
        return self._forward(x, state, mask_pad)

    def _check_state(self, state, *batch):
        if state is not None:
            self._check_state_tensor("state", state, batch, "(L, B, D)", (self.num_layers, self.hidden_size))

    def _run(self, x, state, where):
        return nn.GRU.forward(self, x, state)


def test_the_base_combines_with_another_module_class():
    theirs, ours = nn.GRU(E, D, L), Ours(E, D, L)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(T, B, E)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours(x[:, 0]), theirs(x[:, 0]))
    h, state = ours.step(x[0])
    torch.testing.assert_close((h[None], state), theirs(x[:1]))
    with pytest.raises(ValueError, match=re.escape("Ours: state must have shape (L, B, D) = (2, 3, 6), got")):
        ours(x, torch.zeros(1, B, D))


@pytest.mark.parametrize("kind", [SRU, SRUCell, SRUpp, GatedLinearRNN, LiGRU, MinGRU, LSTM, GRU])
@pytest.mark.parametrize("wrong", [torch.ones(T, B, E).numpy(), [[[0.0] * E]], "x"], ids=type)
def test_what_is_no_tensor(kind, wrong):
    rnn = kind(E, D, 4) if kind is SRUpp else kind(E, D)
    message = rf"^{kind.__name__}(\.step)?: (input|x) must be a tensor, got a {type(wrong).__name__}"
    for call in (rnn, rnn.step):
        with pytest.raises(TypeError, match=message):
            call(wrong)
    with pytest.raises(TypeError, match=f"^{kind.__name__}: mask_pad must be .*tensor.*, got a list"):
        rnn(torch.randn(T, B, E), mask_pad=[[0] * B] * T)


def test_both_names_of_the_state_of_a_step():
    cell, x, c = SRUCell(E, D), torch.randn(B, E), torch.randn(B, D)
    torch.testing.assert_close(cell.step(x, c=c), cell.step(x, state=c))
    with pytest.raises(ValueError, match=r"^SRUCell\.step: state and c are two names of one argument"):
        cell.step(x, c, c=c)
