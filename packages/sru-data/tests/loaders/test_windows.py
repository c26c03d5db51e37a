from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.loaders import IGNORE, WindowLoader

SIZES = st.integers(2, 120)
OPTIONS = st.fixed_dictionaries(
    {"batch_size": st.integers(1, 5), "window": st.integers(1, 15), "stride": st.integers(1, 15)}
)


@settings(deadline=None, max_examples=50)
@given(SIZES, OPTIONS, st.integers(1, 4))
def test_every_token_but_the_first_is_scored_once_with_enough_context(
    positions, count_targets, num_tokens, options, world_size
) -> None:
    window, stride = options["window"], options["stride"]
    assume(stride <= window)
    counts = count_targets([])
    for rank in range(world_size):
        loader = WindowLoader(positions(num_tokens), rank=rank, world_size=world_size, **options)
        batches = list(loader)
        assert len(batches) == len(loader)
        counts += count_targets(batches)
        for number, (inputs, targets) in enumerate(batches):
            assert inputs.shape == (window, options["batch_size"])
            first_batch = number == rank == 0
            steps, columns = (targets != IGNORE).nonzero(as_tuple=True)
            first_window = (columns == 0) & first_batch
            assert bool(((steps >= window - stride) | first_window).all())
            read = inputs[0, columns] + steps
            assert torch.equal(read, inputs[steps, columns])
    assert counts == dict.fromkeys(range(1, num_tokens), 1)


@settings(deadline=None, max_examples=50)
@given(SIZES, OPTIONS, st.integers(1, 4))
def test_the_ranks_together_read_what_one_process_would(positions, num_tokens, options, world_size) -> None:
    assume(options["stride"] <= options["window"])
    alone = WindowLoader(
        positions(num_tokens), **{**options, "batch_size": world_size * options["batch_size"]}
    )
    ranks = [
        WindowLoader(positions(num_tokens), rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert torch.equal(whole.inputs, torch.cat([part.inputs for part in parts], dim=1))
        assert torch.equal(whole.targets, torch.cat([part.targets for part in parts], dim=1))


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
