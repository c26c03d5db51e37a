from __future__ import annotations

import itertools
import json
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.loaders import StreamLoader, WindowLoader

MAKERS = {
    "streams": partial(StreamLoader, batch_size=2, length=7),
    "random lengths": partial(StreamLoader, batch_size=2, length=7, random_lengths=True, seed=3),
    "whole": partial(StreamLoader, batch_size=3, length=7, whole=True),
    "windows": partial(WindowLoader, batch_size=2, window=9, stride=4),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def equal(one, other) -> bool:
    return len(one) == len(other) and all(
        torch.equal(x, y) for a, b in zip(one, other, strict=True) for x, y in zip(a, b, strict=True)
    )


@makers
@settings(deadline=None, max_examples=50)
@given(epoch=st.integers(0, 4), data=st.data())
def test_resuming_yields_the_undisturbed_rest(positions, make, epoch, data) -> None:
    tokens = positions(200)
    whole, interrupted, resumed = make(tokens), make(tokens), make(tokens)
    whole.set_epoch(epoch)
    interrupted.set_epoch(epoch)
    undisturbed = list(whole)
    done = data.draw(st.integers(0, len(undisturbed)))
    assert equal(list(itertools.islice(interrupted, done)), undisturbed[:done])
    state = json.loads(json.dumps(interrupted.state_dict()))
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    # Lightning names the epoch after it has restored the loader, and asks for its length.
    resumed.set_epoch(epoch)
    assert len(resumed) == len(undisturbed)
    iter(resumed)
    assert equal(list(resumed), undisturbed[done:])
    resumed.set_epoch(epoch + 1)
    whole.set_epoch(epoch + 1)
    assert resumed.state_dict()["position"] == 0
    assert equal(list(resumed), list(whole))
    assert equal(list(resumed), list(whole))


@makers
def test_the_place_is_the_same_on_all_ranks(positions, make) -> None:
    states = []
    for rank in range(2):
        loader = make(positions(200), rank=rank, world_size=2)
        list(itertools.islice(loader, 3))
        states.append(loader.state_dict())
    assert states[0] == states[1]
    assert states[0]["position"] == 3


def test_a_place_holds_for_as_many_streams_on_another_number_of_processes(positions) -> None:
    alone = StreamLoader(positions(200), batch_size=4, length=7)
    list(itertools.islice(alone, 2))
    rank = StreamLoader(positions(200), batch_size=2, length=7, rank=1, world_size=2)
    rank.load_state_dict(alone.state_dict())
    assert torch.equal(next(iter(rank)).inputs, next(itertools.islice(alone, 2, None)).inputs[:, 2:])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            lambda text: StreamLoader(text[:-1], batch_size=2, length=7),
            r"tokens = 199, got one with tokens = 200",
        ),
        (lambda text: StreamLoader(text, batch_size=3, length=7), r"streams = 3, got one with streams = 2"),
        (lambda text: StreamLoader(text, batch_size=2, length=8), r"length = 8, got one with length = 7"),
        (lambda text: StreamLoader(text, batch_size=2, length=7, seed=1), r"seed = 1, got one with seed = 0"),
        (
            lambda text: StreamLoader(text, batch_size=2, length=7, random_lengths=True),
            r"random_lengths = True, got one with random_lengths = False",
        ),
        (
            lambda text: StreamLoader(text, batch_size=2, length=7, whole=True),
            r"whole = True, got one with whole = False",
        ),
        (
            lambda text: WindowLoader(text, batch_size=2, window=7, stride=7),
            r"windows in a batch = 2, got one with windows in a batch = None",
        ),
    ],
)
def test_a_place_in_something_else_is_an_error(positions, other, message) -> None:
    loader = other(positions(200))
    before = loader.state_dict()
    with pytest.raises(
        DataError,
        match=rf"Loader: expected a state with {message}; resume with the data, the sizes and the seed of",
    ):
        loader.load_state_dict(StreamLoader(positions(200), batch_size=2, length=7).state_dict())
    assert loader.state_dict() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"batch_size must be at least 1, got 0"),
        ({"length": 0}, r"length must be at least 1, got 0"),
        ({"world_size": 0}, r"world_size must be at least 1, got 0"),
        ({"rank": 2, "world_size": 2}, r"rank must be 0 to world_size - 1 = 1, got 2"),
        (
            {"tokens": torch.ones(4)},
            r"tokens must be a 1-D tensor of integers, got torch.float32 of shape \(4,\)",
        ),
        (
            {"tokens": torch.ones(4, 2, dtype=torch.int64)},
            r"got torch.int64 of shape \(4, 2\); pass `tokens` of a TokenFile",
        ),
    ],
)
def test_wrong_options_are_errors(positions, options, message) -> None:
    with pytest.raises(ValueError, match=f"StreamLoader: .*{message}"):
        StreamLoader(**{"tokens": positions(50), "batch_size": 2, "length": 3, **options})


@pytest.mark.parametrize("option", ["window", "stride"])
def test_wrong_sizes_of_windows_are_errors(positions, option) -> None:
    with pytest.raises(ValueError, match=f"WindowLoader: {option} must be at least 1, got 0"):
        WindowLoader(positions(50), **{"batch_size": 2, "window": 3, "stride": 3, option: 0})


@makers
def test_a_loader_has_what_lightning_asks_for(positions, make) -> None:
    loader = make(positions(200))
    assert loader.sampler is loader
    assert loader.batch_sampler is None
