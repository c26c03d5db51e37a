"""Convolutions that shorten sequences: lengths, padding, and pieces of any size."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_apps.nn.subsampling import ConvSubsampling


def layer(factor: int) -> ConvSubsampling:
    torch.manual_seed(0)
    return ConvSubsampling(3, 4, factor).double()


def test_an_output_is_what_the_equation_says() -> None:
    halving = layer(2)
    (conv,) = halving.layers
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    y, mask = halving(x)
    assert mask is None
    assert y.shape == (3, 2, 4)
    zero = torch.zeros(2, 3, dtype=torch.float64)
    frames = [zero, *x, zero]
    for k in range(3):
        parts = zip(conv.weight.unbind(-1), frames[2 * k : 2 * k + 3], strict=True)
        total = sum(before @ weight.T for weight, before in parts)
        torch.testing.assert_close(y[k], (total + conv.bias).relu())


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_the_content_of_padding_changes_nothing(factor: int) -> None:
    lengths = [9, 8, 7, 6, 1]
    rows = [torch.randn(length, 1, 3, dtype=torch.float64) for length in lengths]
    x = torch.full((9, len(rows), 3), torch.nan, dtype=torch.float64)
    for column, row in enumerate(rows):
        x[: len(row), column] = row[:, 0]
    mask = torch.arange(9)[:, None] >= torch.tensor(lengths)
    y, shorter = layer(factor)(x if factor > 1 else x.masked_fill(mask.unsqueeze(-1), 0), mask)
    assert shorter is not None
    assert (~shorter).sum(0).tolist() == [-(-length // factor) for length in lengths]
    for column, row in enumerate(rows):
        alone, _ = layer(factor)(row)
        torch.testing.assert_close(y[: len(alone), column], alone[:, 0])


@pytest.mark.parametrize("factor", [1, 2, 4])
@settings(max_examples=15)
@given(length=st.integers(0, 13), cuts=st.lists(st.integers(0, 13), max_size=5))
def test_pieces_of_any_size_give_the_outputs_of_the_whole(factor: int, length: int, cuts: list[int]) -> None:
    stage, x = layer(factor), torch.randn(13, 2, 3, dtype=torch.float64)[:length]
    places = [0, *sorted(min(cut, length) for cut in cuts), length]
    state, found = stage.start(2, x), []
    for first, last in pairwise(places):
        y, state = stage.stream(x[first:last], state)
        found.append(y)
        # There is no look-ahead: all outputs covered by the inputs so far are known.
        assert sum(map(len, found)) == last // factor
    y, _ = stage.stream(x[:0], state, last=True)
    whole = stage(x)[0] if length else y
    torch.testing.assert_close(torch.cat([*found, y]), whole)
