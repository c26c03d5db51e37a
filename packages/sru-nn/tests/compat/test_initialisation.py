"""How code that draws its own weights for `nn.LSTM` does it here: the lines of docs/guides/drop-in.md."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sru_nn.compat import GRU, LSTM

E, D, L, B = 6, 5, 2, 3


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_orthogonal_matrices(kind):
    rnn = kind(E, D, L, bidirectional=True)
    for name, parameter in rnn.named_parameters():
        if "weight" in name and parameter.dim() > 1:
            nn.init.orthogonal_(parameter)
    for cell in rnn.rnn_lst:
        weight = cell.transform.weight
        torch.testing.assert_close(weight.t() @ weight, torch.eye(weight.shape[1]))


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_a_bias_of_one_for_the_forget_gates(kind):
    rnn = kind(E, D, L, bidirectional=True)
    for name, parameter in rnn.named_parameters():
        if "bias" in name:
            n = parameter.shape[0]
            parameter.data[: n // 2].fill_(1)
    for name, parameter in rnn.named_parameters():
        if "weight" in name:
            nn.init.zeros_(parameter)  # so that f = σ(b_f) alone is left
    c0 = torch.randn(2 * L, B, D)
    _, states = rnn(torch.randn(1, B, E), (c0, c0) if kind is LSTM else c0)
    c = states[1] if kind is LSTM else states
    torch.testing.assert_close(c, c0 * torch.sigmoid(torch.tensor(1.0)))
