"""The initialisation loops of docs/guides/drop-in.md, changed as that page advises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sru_nn.compat import GRU, LSTM


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_orthogonal_matrices(kind):
    rnn = kind(6, 5, 2)
    with pytest.raises(ValueError, match="2 or more dimensions"):  # hence the second condition below
        nn.init.orthogonal_(rnn.rnn_lst[0].weight_c)
    for name, parameter in rnn.named_parameters():
        if "weight" in name and parameter.dim() > 1:
            nn.init.orthogonal_(parameter)
    for cell in rnn.rnn_lst:
        weight = cell.transform.weight
        torch.testing.assert_close(weight.T @ weight, torch.eye(weight.shape[1]))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_forget_gate_biases_of_one(bidirectional):
    rnn = LSTM(6, 5, 2, bidirectional=bidirectional)
    for name, parameter in rnn.named_parameters():
        if "bias" in name:
            n = parameter.numel()
            parameter.data[: n // 2].fill_(1)
    for cell in rnn.rnn_lst:
        forget, output = cell.bias.chunk(2)
        assert forget.eq(1).all()
        assert output.eq(0).all()
    # A forget gate of one keeps the state, and σ(20) ≈ 1.
    for cell in rnn.rnn_lst:
        nn.init.constant_(cell.bias.data[: cell.bias.numel() // 2], 20.0)
        nn.init.zeros_(cell.weight_c)
    c0 = torch.randn(4 if bidirectional else 2, 3, 5)
    torch.testing.assert_close(rnn(torch.randn(7, 3, 6), (c0, c0))[1][1], c0, rtol=1e-4, atol=1e-4)
