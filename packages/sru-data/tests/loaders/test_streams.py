from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.loaders import IGNORE, StreamLoader
from sru_data.token_files.files import token_bytes

OPTIONS = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 5),
        "length": st.integers(1, 12),
        "random_lengths": st.booleans(),
        "whole": st.booleans(),
        "seed": st.integers(0, 99),
    }
)
SIZES = st.integers(2, 300)


def joined(segments) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets, _ = zip(*segments, strict=True)
    return torch.cat(inputs), torch.cat(targets)


@settings(max_examples=50)
@given(SIZES, OPTIONS, st.integers(0, 3))
def test_streams_are_contiguous_and_continue_each_other(positions, num_tokens, options, epoch) -> None:
    assume(options["whole"] or num_tokens > options["batch_size"])
    loader = StreamLoader(positions(num_tokens), **options)
    loader.set_epoch(epoch)
    segments = list(loader)
    assert len(segments) == len(loader)
    inputs, targets = joined(segments)
    assert inputs.shape == targets.shape == (loader.steps, options["batch_size"])
    expected = torch.arange(options["batch_size"]) * loader.steps + torch.arange(loader.steps)[:, None]
    inside = expected < num_tokens - 1
    assert torch.equal(targets, torch.where(inside, expected + 1, IGNORE))
    assert torch.equal(inputs, torch.where(expected < num_tokens, expected, 0))
    assert options["whole"] or bool(inside.all())


def test_without_random_lengths_only_the_last_segment_is_shorter(positions) -> None:
    loader = StreamLoader(positions(48), batch_size=2, length=5)
    assert [len(segment.inputs) for segment in loader] == [5, 5, 5, 5, 3]
    assert [len(segment.inputs) for segment in StreamLoader(positions(11), batch_size=2, length=5)] == [5]


@settings(max_examples=50)
@given(st.integers(0, 2**40), st.integers(0, 100))
def test_random_lengths_are_a_function_of_seed_and_epoch(positions, seed, epoch) -> None:
    def lengths(**options: int) -> list[int]:
        loader = StreamLoader(
            positions(1000), batch_size=2, length=20, random_lengths=True, seed=seed, **options
        )
        list(itertools.islice(loader, 3))
        loader.set_epoch(epoch)
        return [len(segment.inputs) for segment in loader]

    assert lengths() == lengths() == lengths(world_size=1, rank=0)
    assert sum(lengths()) == 499


def test_random_lengths_differ_between_epochs_and_seeds_but_not_in_number(positions) -> None:
    found = []
    for seed in (0, 1):
        loader = StreamLoader(positions(20_000), batch_size=1, length=35, random_lengths=True, seed=seed)
        for epoch in (0, 1):
            loader.set_epoch(epoch)
            found.append(tuple(len(segment.inputs) for segment in loader))
            assert len(found[-1]) == len(loader)
    assert len(set(found)) == 4


def test_random_lengths_are_distributed_as_in_the_paper(positions) -> None:
    loader = StreamLoader(positions(700_000), batch_size=1, length=70, random_lengths=True)
    lengths = torch.tensor([len(segment.inputs) for segment in loader][:-1], dtype=torch.float64)
    long = lengths[lengths > 52]
    half = lengths[lengths <= 52]
    assert len(half) / len(lengths) == pytest.approx(0.05, abs=0.008)
    assert float(long.mean()) == pytest.approx(69.5, abs=0.3)
    assert float(half.mean()) == pytest.approx(34.5, abs=1)
    assert float(long.std()) == pytest.approx(5, abs=0.2)


def test_random_lengths_are_at_least_five(positions) -> None:
    lengths = [
        len(segment.inputs)
        for segment in StreamLoader(positions(5000), batch_size=1, length=6, random_lengths=True)
    ]
    assert min(lengths[:-1]) == 5


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int32])
def test_ids_of_every_type_are_read_in_full(dtype) -> None:
    ids = torch.tensor([0, 65_535, 1, 40_000, 2, 7, 9])
    name = str(dtype).removeprefix("torch.")
    tokens = torch.frombuffer(token_bytes(ids, name), dtype=dtype)
    (segment,) = StreamLoader(tokens, batch_size=2, length=9)
    assert segment.inputs.tolist() == [[0, 40_000], [65_535, 2], [1, 7]]
    assert segment.targets.tolist() == [[65_535, 2], [1, 7], [40_000, 9]]


def test_a_part_of_another_tensor_is_read_rightly(positions) -> None:
    tokens = positions(40)[7:27:2]
    (segment,) = StreamLoader(tokens, batch_size=3, length=9)
    assert segment.inputs.T.tolist() == [[7, 9, 11], [13, 15, 17], [19, 21, 23]]


def test_inputs_and_targets_share_no_memory(positions) -> None:
    (segment,) = StreamLoader(positions(20), batch_size=2, length=20)
    segment.inputs.fill_(-1)
    assert segment.targets.T.tolist() == [list(range(1, 10)), list(range(10, 19))]


def test_a_text_shorter_than_one_batch_is_an_error(positions) -> None:
    with pytest.raises(
        DataError,
        match=r"StreamLoader: expected a text of at least 13 tokens for 12 streams, got 12; give a longer "
        r"text or a smaller batch size",
    ):
        StreamLoader(positions(12), batch_size=4, world_size=3, length=5)
    assert len(list(StreamLoader(positions(13), batch_size=4, world_size=3, length=5))) == 1
    with pytest.raises(DataError, match=r"expected a text of at least 2 tokens for 4 streams, got 1"):
        StreamLoader(positions(1), batch_size=4, length=5, whole=True)
