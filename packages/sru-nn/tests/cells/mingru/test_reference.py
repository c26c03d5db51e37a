"""The reference against the equations, one number at a time."""

from __future__ import annotations

import itertools
import math

import torch

from sru_nn.reference import mingru_recurrence


def test_follows_the_equations():
    u, h0 = torch.randn(5, 1, 2, 3, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    mask_pad = torch.tensor([False, False, True, False, False])[:, None]
    reset = torch.tensor([False, True, True, False, True])[:, None]
    h_reset = torch.randn(3, dtype=torch.float64)
    expected, state = torch.zeros(5, 1, 3, dtype=torch.float64), h0.clone()
    for t, i in itertools.product(range(5), range(3)):
        if not mask_pad[t, 0]:
            if reset[t, 0]:
                state[0, i] = h_reset[i]
            z = 1 / (1 + math.exp(-u[t, 0, 1, i].item()))
            state[0, i] = (1 - z) * state[0, i].item() + z * u[t, 0, 0, i].item()
            expected[t, 0, i] = state[0, i]
    actual = mingru_recurrence(u, h0, mask_pad=mask_pad, reset=reset, h_reset=h_reset)
    torch.testing.assert_close(actual, (expected, state))


def test_first_and_second_derivatives():
    leaves = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in [(3, 2, 2, 2), (2, 2)]
    ]
    leaves.append(torch.randn(2, dtype=torch.float64, requires_grad=True))
    mask_pad = torch.tensor([[False, True], [True, False], [False, False]])
    reset = torch.tensor([[False, True], [False, False], [True, True]])

    def run(u, h0, h_reset):
        return mingru_recurrence(u, h0, mask_pad=mask_pad, reset=reset, h_reset=h_reset)

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)
