"""The reference of the Li-GRU against its equations, written out for one sequence."""

from __future__ import annotations

import math

import pytest
import torch

from sru_nn import reference

T, D = 5, 3
FUNCTIONS = {
    "relu": lambda a: max(a, 0.0),
    "tanh": math.tanh,
    "sin": math.sin,
    "leaky_relu": lambda a: a if a > 0 else 0.01 * a,
}


@pytest.mark.parametrize("norm_eps", [None, 1e-5])
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_the_equations(activation, norm_eps):
    u, weight = torch.randn(T, 1, 2, D, dtype=torch.float64), torch.randn(2 * D, D, dtype=torch.float64)
    h0, mask_h = torch.randn(1, D, dtype=torch.float64), torch.tensor([[2.0, 0.0, 2.0]], dtype=torch.float64)
    norm_weight, norm_bias = torch.randn(2, 2 * D, dtype=torch.float64)
    h, outputs = h0[0].tolist(), []
    for u_t in u[:, 0].tolist():
        r = [sum(w * x for w, x in zip(row, h, strict=True)) for row in weight.tolist()]
        if norm_eps is not None:
            mean = sum(r) / len(r)
            std = math.sqrt(sum((x - mean) ** 2 for x in r) / len(r) + norm_eps)
            affine = zip(r, norm_weight.tolist(), norm_bias.tolist(), strict=True)
            r = [(x - mean) / std * w + b for x, w, b in affine]
        z = [1 / (1 + math.exp(-a - b)) for a, b in zip(u_t[1], r[D:], strict=True)]
        candidate = [FUNCTIONS[activation](a + b) for a, b in zip(u_t[0], r[:D], strict=True)]
        dropped = [m * c for m, c in zip(mask_h[0].tolist(), candidate, strict=True)]
        h = [z * before + (1 - z) * c for z, before, c in zip(z, h, dropped, strict=True)]
        outputs.append(h)
    options = {"norm_weight": norm_weight, "norm_bias": norm_bias} if norm_eps is not None else {}
    actual, last = reference.ligru_recurrence(
        u, weight, h0, activation=activation, mask_h=mask_h, norm_eps=norm_eps, **options
    )
    torch.testing.assert_close(actual[:, 0], torch.tensor(outputs, dtype=torch.float64))
    torch.testing.assert_close(last[0], actual[-1, 0])


def test_the_second_direction_is_the_first_on_the_reversed_sequence():
    u, weight = torch.randn(T, 2, 2, D), torch.randn(2 * D, D)
    h0 = torch.randn(2, 2 * D)
    h, last = reference.ligru_recurrence(u, weight, h0, bidirectional=True)
    first, second = h0.chunk(2, -1)
    forward = reference.ligru_recurrence(u, weight, first)
    backward = reference.ligru_recurrence(u.flip(0), weight, second)
    torch.testing.assert_close(h, torch.cat([forward[0], backward[0].flip(0)], -1))
    torch.testing.assert_close(last, torch.cat([forward[1], backward[1]], -1))
