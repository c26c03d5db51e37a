from __future__ import annotations

import itertools
import json
from collections import Counter
from functools import partial

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.loaders import LengthBatchSampler, StreamLoader, WindowLoader

TEXT_LOADERS = {
    "streams": partial(StreamLoader, batch_size=2, length=7),
    "random lengths": partial(StreamLoader, batch_size=2, length=7, random_lengths=True, seed=3),
    "whole": partial(StreamLoader, batch_size=3, length=7, whole=True),
    "windows": partial(WindowLoader, batch_size=2, window=9, stride=4),
    "documents": partial(StreamLoader, batch_size=2, length=7, random_lengths=True, separator=50),
}
BUCKETS = {
    "batch size": partial(LengthBatchSampler, batch_size=7),
    "budget": partial(LengthBatchSampler, max_tokens=200, seed=3),
    "in order": partial(LengthBatchSampler, max_tokens=999, shuffle=False),
}
ALL = TEXT_LOADERS | BUCKETS
text_loaders = pytest.mark.parametrize("make", TEXT_LOADERS.values(), ids=TEXT_LOADERS)
loaders = pytest.mark.parametrize("make", ALL.values(), ids=ALL)

WHOLE = st.builds(
    partial,
    st.just(StreamLoader),
    length=st.integers(1, 12),
    random_lengths=st.booleans(),
    whole=st.just(True),
) | st.builds(partial, st.just(WindowLoader), window=st.integers(8, 15), stride=st.integers(1, 8))
ANY = WHOLE | st.builds(
    partial,
    st.just(StreamLoader),
    length=st.integers(1, 12),
    random_lengths=st.booleans(),
    seed=st.integers(0, 9),
)


def plain(items) -> list[list]:
    return [[torch.as_tensor(part).tolist() for part in item if part is not None] for item in items]


@loaders
@settings(max_examples=50)
@given(epoch=st.integers(0, 4), data=st.data())
def test_resuming_yields_the_undisturbed_rest(positions, make, epoch, data) -> None:
    tokens = positions(200)
    whole, interrupted, resumed = make(tokens), make(tokens), make(tokens)
    whole.set_epoch(epoch)
    interrupted.set_epoch(epoch)
    undisturbed = plain(whole)
    done = data.draw(st.integers(0, len(undisturbed)))
    assert plain(itertools.islice(interrupted, done)) == undisturbed[:done]
    state = json.loads(json.dumps(interrupted.state_dict()))
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    # Lightning sets the epoch after restoring the loader, and asks for the length of the loader.
    resumed.set_epoch(epoch)
    assert len(resumed) == len(undisturbed)
    iter(resumed)
    assert plain(resumed) == undisturbed[done:]
    assert plain(resumed) == undisturbed, "only the first iteration after a resume is shortened"
    resumed.set_epoch(epoch + 1)
    whole.set_epoch(epoch + 1)
    assert resumed.state_dict()["position"] == 0
    assert plain(resumed) == plain(whole)


@loaders
def test_an_abandoned_iteration_does_not_shorten_the_next(positions, make) -> None:
    loader = make(positions(200))
    whole = plain(loader)
    next(iter(loader))
    assert plain(loader) == whole


@loaders
def test_another_epoch_forgets_a_restored_place(positions, make) -> None:
    loader = make(positions(200))
    loader.load_state_dict({**loader.state_dict(), "position": 3})
    loader.set_epoch(1)
    assert len(list(loader)) == len(loader)


@text_loaders
def test_the_place_is_the_same_on_all_ranks(positions, make) -> None:
    ranks = [make(positions(200), rank=rank, world_size=2) for rank in range(2)]
    states = [list(itertools.islice(rank, 3)) and rank.state_dict() for rank in ranks]
    assert states[0] == states[1]
    assert states[0]["position"] == 3


@settings(max_examples=100)
@given(st.integers(2, 300), ANY, st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_the_ranks_together_read_what_one_process_would(
    positions, num_tokens, make, batch_size, world_size, epoch
) -> None:
    tokens, all_columns = positions(num_tokens), batch_size * world_size
    assume(make.func is WindowLoader or make.keywords.get("whole") or num_tokens > all_columns)
    alone = make(tokens, batch_size=all_columns)
    ranks = [
        make(tokens, batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    assert {len(loader) for loader in ranks} == {len(alone)}
    for loader in (alone, *ranks):
        loader.set_epoch(epoch)
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert torch.equal(whole.inputs, torch.cat([part.inputs for part in parts], dim=1))
        assert torch.equal(whole.targets, torch.cat([part.targets for part in parts], dim=1))


@settings(max_examples=100)
@given(st.integers(2, 300), WHOLE, st.integers(1, 5), st.integers(1, 4))
def test_every_token_but_the_first_is_scored_once(
    positions, count_targets, num_tokens, make, batch_size, world_size
) -> None:
    ranks = [
        make(positions(num_tokens), batch_size=batch_size, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert sum(map(count_targets, ranks), Counter()) == dict.fromkeys(range(1, num_tokens), 1)


def test_a_place_is_valid_if_more_processes_share_the_same_streams(positions) -> None:
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
        (
            lambda text: LengthBatchSampler(text, batch_size=2, seed=1),
            r"seed = 1, got one with seed = 0",
        ),
    ],
)
def test_a_place_in_something_else_is_an_error(positions, other, message) -> None:
    loader = other(positions(200))
    before = loader.state_dict()
    with pytest.raises(
        DataError,
        match=rf"^{type(loader).__name__}: expected a state with {message}; resume with the data, the sizes",
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


@text_loaders
def test_a_loader_has_what_lightning_asks_for(positions, make) -> None:
    loader = make(positions(200))
    assert loader.sampler is loader
    assert loader.batch_sampler is None
