"""The reference against the equations, one number at a time."""

from __future__ import annotations

import itertools
import math

import torch

from sru_nn.reference import mingru_recurrence


def test_follows_the_equations():
    u, h0 = torch.randn(5, 1, 2, 3, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    mask_pad = torch.tensor([False, False, True, False, False])[:, None]
    expected, state = torch.zeros(5, 1, 3, dtype=torch.float64), h0.clone()
    for t, i in itertools.product(range(5), range(3)):
        if not mask_pad[t, 0]:
            z = 1 / (1 + math.exp(-u[t, 0, 1, i].item()))
            state[0, i] = (1 - z) * state[0, i].item() + z * u[t, 0, 0, i].item()
            expected[t, 0, i] = state[0, i]
    torch.testing.assert_close(mingru_recurrence(u, h0, mask_pad=mask_pad), (expected, state))


def test_first_and_second_derivatives():
    leaves = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in [(3, 2, 2, 2), (2, 2)]
    ]
    mask_pad = torch.tensor([[False, True], [True, False], [False, False]])
    assert torch.autograd.gradcheck(lambda *given: mingru_recurrence(*given, mask_pad=mask_pad), leaves)
    assert torch.autograd.gradgradcheck(mingru_recurrence, leaves)
