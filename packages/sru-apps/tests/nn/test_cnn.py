from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sru_apps.tasks.classify.model import CNNEncoder


def _mask(lengths: list[int], steps: int) -> torch.Tensor:
    return torch.arange(steps).unsqueeze(1) >= torch.tensor(lengths)


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    encoder = CNNEncoder(5, num_maps=4)
    x = torch.randn(9, 4, 5)
    lengths = [9, 1, 2, 6]
    batched = encoder(x, _mask(lengths, 9))
    for b, length in enumerate(lengths):
        alone = encoder(x[:length, b : b + 1], _mask([length], length))
        torch.testing.assert_close(batched[b : b + 1], alone)


def test_gradient_ignores_what_stands_in_padding() -> None:
    encoder = CNNEncoder(5, num_maps=4)
    x = torch.randn(6, 2, 5, requires_grad=True)
    encoder(x, _mask([6, 3], 6)).sum().backward()
    assert x.grad is not None
    assert (x.grad[3:, 1] == 0).all()


@pytest.mark.parametrize("length", [1, 3, 7])
def test_is_the_maximum_over_all_windows(length: int) -> None:
    torch.manual_seed(1)
    encoder = CNNEncoder(5, num_maps=4, widths=[3])
    x = torch.randn(length, 1, 5)
    weight, bias = encoder.convolutions[0].weight, encoder.convolutions[0].bias
    surrounded = F.pad(x[:, 0].t(), (2, 2))
    windows = [(weight * surrounded[:, t : t + 3]).sum((1, 2)) + bias for t in range(length + 2)]
    expected = torch.relu(torch.stack(windows)).amax(0)
    torch.testing.assert_close(encoder(x, _mask([length], length))[0], expected)


def test_kims_sizes() -> None:
    encoder = CNNEncoder(300)
    assert [tuple(convolution.weight.shape) for convolution in encoder.convolutions] == [
        (100, 300, 3),
        (100, 300, 4),
        (100, 300, 5),
    ]
    assert encoder.output_size == 300
