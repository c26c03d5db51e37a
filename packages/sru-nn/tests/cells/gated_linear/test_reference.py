"""The reference against the equations, one number at a time."""

from __future__ import annotations

import itertools
import math

import torch

from sru_nn.reference import gated_linear_recurrence


def test_follows_the_equations():
    length, heads, keys, values = 5, 2, 3, 2
    q, k, log_g = (torch.randn(length, 1, heads, keys, dtype=torch.float64) for _ in range(3))
    v, s0 = torch.randn(length, 1, heads, values).double(), torch.randn(1, heads, keys, values).double()
    log_g, mask_pad = -log_g.abs(), torch.tensor([False, False, True, False, False])[:, None]
    expected_o, expected_s = torch.zeros_like(v), s0.clone()
    for t, h in itertools.product(range(length), range(heads)):
        if mask_pad[t, 0]:
            continue
        for i, j in itertools.product(range(keys), range(values)):
            before = expected_s[0, h, i, j].item()
            after = math.exp(log_g[t, 0, h, i]) * before + k[t, 0, h, i].item() * v[t, 0, h, j].item()
            expected_s[0, h, i, j] = after
            expected_o[t, 0, h, j] += q[t, 0, h, i].item() * after
    o, s = gated_linear_recurrence(q, k, v, log_g, s0, mask_pad=mask_pad)
    torch.testing.assert_close((o, s), (expected_o, expected_s))


def test_first_and_second_derivatives():
    """Autograd produces them, and a mask stops them."""
    leaves = [torch.randn(3, 2, 1, 2, dtype=torch.float64) for _ in range(4)]
    leaves[3] = -leaves[3].abs()
    leaves = [leaf.requires_grad_() for leaf in [*leaves, torch.randn(2, 1, 2, 2, dtype=torch.float64)]]
    mask_pad = torch.tensor([[False, True], [True, False], [False, False]])
    assert torch.autograd.gradcheck(lambda *given: gated_linear_recurrence(*given, mask_pad=mask_pad), leaves)
    assert torch.autograd.gradgradcheck(gated_linear_recurrence, leaves)
