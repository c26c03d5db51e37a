from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.loaders import IGNORE, WindowLoader


@settings(max_examples=50)
@given(st.integers(2, 120), st.integers(1, 5), st.integers(1, 15), st.data())
def test_every_window_but_the_first_scores_what_has_enough_context(
    positions, num_tokens, batch_size, window, data
) -> None:
    stride = data.draw(st.integers(1, window))
    loader = WindowLoader(positions(num_tokens), batch_size=batch_size, window=window, stride=stride)
    batches = list(loader)
    assert len(batches) == len(loader)
    for number, (inputs, targets, _) in enumerate(batches):
        assert inputs.shape == (window, batch_size)
        steps, columns = (targets != IGNORE).nonzero(as_tuple=True)
        is_first = (columns == 0) & (number == 0)
        assert torch.all((steps >= window - stride) | is_first)
        assert torch.equal(inputs[0, columns] + steps, inputs[steps, columns])


def test_by_example(positions) -> None:
    first, second = WindowLoader(positions(10).to(torch.uint16), batch_size=3, window=4, stride=2)
    assert first.inputs.T.tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    assert first.targets.T.tolist() == [[1, 2, 3, 4], [IGNORE, IGNORE, 5, 6], [IGNORE, IGNORE, 7, 8]]
    assert second.inputs.T.tolist() == [[6, 7, 8, 9], [8, 9, 0, 0], [0, 0, 0, 0]]
    assert second.targets.T.tolist() == [[IGNORE, IGNORE, 9, IGNORE], [IGNORE] * 4, [IGNORE] * 4]


def test_a_stride_longer_than_the_window_is_an_error(positions) -> None:
    with pytest.raises(
        ValueError,
        match=r"WindowLoader: stride must be at most window = 4, got 5; tokens between the windows",
    ):
        WindowLoader(positions(10), batch_size=1, window=4, stride=5)


def test_a_text_of_one_token_is_an_error(positions) -> None:
    with pytest.raises(DataError, match=r"WindowLoader: expected a text of at least 2 tokens, got 1; give a"):
        WindowLoader(positions(1), batch_size=1, window=4, stride=2)
