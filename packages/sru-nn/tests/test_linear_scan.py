"""The linear scan against the loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sru_nn.linear_scan import linear_scan

from .conftest import examples, looks_at_grad


def scan_in_order(a: Tensor, b: Tensor, reverse: bool) -> Tensor:
    y, before = torch.zeros_like(b), torch.zeros(b.shape[1:], dtype=b.dtype)
    for t in reversed(range(len(b))) if reverse else range(len(b)):
        before = y[t] = a[t] * before + b[t]
    return y


@settings(examples, max_examples=40)
@given(length=st.integers(0, 600), reverse=st.booleans(), seed=st.integers(0, 999))
def test_equals_the_loop(length, reverse, seed):
    generator = torch.Generator().manual_seed(seed)
    a = 0.9 * torch.randn(length, 2, dtype=torch.float64, generator=generator)
    b = torch.randn(length, 2, dtype=torch.float64, generator=generator)
    expected = scan_in_order(a, b, reverse)
    torch.testing.assert_close(linear_scan(a, b, reverse=reverse), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives(reverse):
    a, b = (torch.randn(35, 1, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def run(a: Tensor, b: Tensor) -> Tensor:
        return linear_scan(a, b, reverse=reverse)

    assert torch.autograd.gradcheck(run, (a, b))
    assert torch.autograd.gradgradcheck(run, (a, b))


def test_factors_whose_product_overflows_do_no_harm():
    # Their product overflows float32, but multiplies zero.
    a, b = torch.full((100, 1), 0.5), torch.zeros(100, 1)
    a[39], a[40:75], b[3], b[80] = 0.0, 1e3, 1.0, 1.0
    expected = scan_in_order(a, b, False)
    assert expected.isfinite().all()
    assert not a[48:64].prod().isfinite()
    torch.testing.assert_close(linear_scan(a, b), expected)


@looks_at_grad
def test_opcheck():
    a, b = (torch.randn(12, 2, requires_grad=True) for _ in range(2))
    torch.library.opcheck(torch.ops.sru_nn.linear_scan, (a, b, True))
