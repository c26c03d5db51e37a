from __future__ import annotations

import pytest
import torch
from torch import nn

from sru_apps.nn.layers import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.73])
def test_zeroes_a_share_of_p_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    y = Dropout(p)(torch.ones(400, 1001))
    zero = (y == 0).double()
    assert abs(zero.mean() - p) < 0.005  # seven standard deviations
    # Each of the four elements that share a word.
    assert abs(zero.flatten()[: 400 * 1000].view(-1, 4).mean(0) - p).max() < 0.01
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - p)), rtol=1e-4, atol=0)


def test_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(400_000)) != 0).double() - 0.5
    for distance in (1, 2, 3, 4, 5):
        assert abs((kept[:-distance] * kept[distance:]).mean()) < 0.25 * 0.01


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (5,), (2, 3, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_dtype_and_gradient(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.ones(shape, dtype=dtype, requires_grad=True)
    y = Dropout(0.25)(x)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_a_seed_repeats_it() -> None:
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        outputs.append(Dropout(0.5)(torch.ones(1000)))
    assert torch.equal(*outputs)


def test_evaluation_and_p_of_zero_change_nothing() -> None:
    x = torch.randn(10)
    assert Dropout(0.5).eval()(x) is x
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(1.0)(x), torch.zeros(10))
    with pytest.raises(ValueError, match="dropout probability"):
        Dropout(1.5)
    assert isinstance(Dropout(), nn.Dropout)
