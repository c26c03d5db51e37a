from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from sru_data.loaders.buckets import LengthBatchSampler, PaddedBatch, pad_features, pad_sequences

LENGTHS = st.lists(st.integers(0, 30), max_size=60)
SEEDS = st.integers(0, 2**40)


@st.composite
def samplers(draw: st.DrawFn) -> tuple[list[int], LengthBatchSampler]:
    lengths = draw(LENGTHS)
    limit = draw(
        st.one_of(
            st.builds(dict, batch_size=st.integers(1, 20)),
            st.builds(dict, max_tokens=st.integers(max([1, *lengths]), 200)),
        )
    )
    return lengths, LengthBatchSampler(lengths, **limit, shuffle=draw(st.booleans()), seed=draw(SEEDS))


@given(samplers(), st.integers(0, 5))
def test_every_index_comes_once_per_epoch(drawn, epoch) -> None:
    lengths, sampler = drawn
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert len(batches) == len(sampler)
    assert all(batches)


@given(LENGTHS, st.integers(30, 300), SEEDS)
def test_the_budget_of_tokens_is_never_exceeded(lengths, budget, seed) -> None:
    for batch in LengthBatchSampler(lengths, max_tokens=budget, seed=seed):
        assert pad_sequences([[1] * lengths[i] for i in batch]).ids.numel() <= budget


@given(LENGTHS, st.integers(30, 300))
def test_a_batch_is_closed_only_when_the_next_sequence_would_exceed_the_budget(lengths, budget) -> None:
    batches = list(LengthBatchSampler(lengths, max_tokens=budget, shuffle=False))
    for following, batch in itertools.pairwise(batches):
        assert (len(batch) + 1) * lengths[following[0]] > budget


@given(LENGTHS, st.integers(1, 20), SEEDS)
def test_all_batches_but_one_have_the_batch_size(lengths, batch_size, seed) -> None:
    sizes = sorted(len(batch) for batch in LengthBatchSampler(lengths, batch_size=batch_size, seed=seed))
    assert all(size == batch_size for size in sizes[1:])
    assert all(size <= batch_size for size in sizes)


@given(samplers())
def test_lengths_in_different_batches_do_not_interleave(drawn) -> None:
    lengths, sampler = drawn
    ranges = sorted((min(lengths[i] for i in batch), max(lengths[i] for i in batch)) for batch in sampler)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(ranges))


@given(LENGTHS, SEEDS, st.integers(0, 100))
def test_the_order_is_a_function_of_seed_and_epoch(lengths, seed, epoch) -> None:
    one, other = (LengthBatchSampler(lengths, batch_size=4, seed=seed) for _ in range(2))
    list(one)
    one.set_epoch(epoch)
    other.set_epoch(epoch)
    first = list(one)
    assert list(one) == first
    assert list(other) == first


def test_another_epoch_or_seed_gives_another_order() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = LengthBatchSampler([5] * 100, batch_size=10, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    orders = [order(0, 0), order(0, 1), order(1, 0), order(1, 1)]
    assert all(orders[i] != orders[j] for i in range(4) for j in range(i))


def test_without_shuffle_the_order_runs_from_long_to_short_in_every_epoch() -> None:
    sampler = LengthBatchSampler([3, 1, 2, 1, 3], batch_size=2, shuffle=False)
    assert list(sampler) == [[4], [2, 0], [1, 3]]
    sampler.set_epoch(7)
    assert list(sampler) == [[4], [2, 0], [1, 3]]


def test_the_first_epochs_run_from_short_to_long() -> None:
    lengths = [3, 1, 4, 1, 5, 9, 2, 6]
    sampler = LengthBatchSampler(lengths, batch_size=2, seed=1, shortest_first=2)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        assert [[lengths[i] for i in batch] for batch in sampler] == [[1, 1], [2, 3], [4, 5], [6, 9]]
    plain = LengthBatchSampler(lengths, batch_size=2, seed=1)
    sampler.set_epoch(2)
    plain.set_epoch(2)
    assert list(sampler) == list(plain)


def test_ties_order_sequences_of_equal_length_and_nothing_else() -> None:
    pairs = [(source, target) for source in range(1, 6) for target in range(1, 6) for _ in range(3)]
    lengths, ties = [max(pair) for pair in pairs], [source - target for source, target in pairs]
    sampler = LengthBatchSampler(lengths, batch_size=3, ties=ties)
    seen = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        assert all(len({pairs[index] for index in batch}) == 1 for batch in sampler)
        seen.append([index for batch in sorted(sampler, key=sorted) for index in batch])
    from_long_to_short = LengthBatchSampler(lengths, batch_size=5, ties=ties, shuffle=False)
    assert [lengths[i] for batch in from_long_to_short for i in reversed(batch)] == sorted(lengths)[::-1]
    # Equal pairs are still in random order.
    assert seen[0] != seen[1]
    assert list(LengthBatchSampler(lengths, batch_size=4, ties=[0] * len(pairs), seed=2)) == list(
        LengthBatchSampler(lengths, batch_size=4, seed=2)
    )


def test_lengths_may_be_a_tensor() -> None:
    lengths = [3, 1, 2, 1, 3]
    batches = [
        list(LengthBatchSampler(given, batch_size=2, seed=4)) for given in (lengths, torch.tensor(lengths))
    ]
    assert batches[0] == batches[1]


def test_a_data_loader_takes_it() -> None:
    texts = [[1] * length for length in (3, 1, 4, 1, 5, 2)]
    sampler = LengthBatchSampler([len(text) for text in texts], max_tokens=6, seed=3)
    loader = DataLoader(texts, batch_sampler=sampler, collate_fn=pad_sequences)
    batches = list(loader)
    assert len(loader) == len(batches) == len(sampler)
    assert sum(int(batch.lengths.sum()) for batch in batches) == 16
    assert all(batch.ids.numel() <= 6 for batch in batches)


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        (
            [1],
            {},
            r"exactly one of batch_size and max_tokens .* got batch_size=None and max_tokens=None",
        ),
        ([1], {"batch_size": 1, "max_tokens": 1}, r"exactly one of .* got batch_size=1 and max_tokens=1"),
        ([1], {"batch_size": 0}, r"batch_size must be at least 1, got 0"),
        ([1], {"max_tokens": -1}, r"max_tokens must be at least 1, got -1"),
        ([1], {"batch_size": 1, "shortest_first": -1}, r"shortest_first must not be negative, got -1"),
        (
            [1, 2],
            {"batch_size": 1, "ties": [1]},
            r"ties must contain a number for each of 2 sequences, got 1",
        ),
        ([2, -3], {"batch_size": 1}, r"lengths must not be negative, got -3 at index 1"),
        (
            [2, 9, 3],
            {"max_tokens": 8},
            r"sequence 1 has 9 tokens, more than max_tokens=8; truncate or drop it",
        ),
    ],
)
def test_wrong_options_are_errors(lengths, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        LengthBatchSampler(lengths, **options)


@given(
    st.lists(st.lists(st.integers(0, 2**40), max_size=12), min_size=1, max_size=8),
    st.integers(0, 9),
    st.booleans(),
)
def test_padding_can_be_undone(sequences, pad_id, batch_first) -> None:
    batch = pad_sequences(sequences, pad_id=pad_id, batch_first=batch_first)
    ids, mask = (batch.ids, batch.mask) if batch_first else (batch.ids.T, batch.mask.T)
    assert ids.shape == mask.shape == (len(sequences), max(map(len, sequences)))
    assert [row[~hidden].tolist() for row, hidden in zip(ids, mask, strict=True)] == sequences
    assert bool((ids[mask] == pad_id).all())
    assert batch.lengths.tolist() == [len(sequence) for sequence in sequences]


def test_padding_by_example() -> None:
    batch = pad_sequences([[5, 6, 7], [8]], pad_id=9)
    assert isinstance(batch, PaddedBatch)
    assert batch.ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch.mask.tolist() == [[False, False, False], [False, True, True]]
    assert (batch.ids.dtype, batch.mask.dtype, batch.lengths.dtype) == (torch.int64, torch.bool, torch.int64)


def test_padding_nothing_is_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"pad_sequences: sequences must contain at least one sequence, got none"
    ):
        pad_sequences([])


def test_features_are_padded_in_time() -> None:
    batch = pad_features([torch.ones(1, 2), torch.full((3, 2), 2.0)])
    assert batch.features.tolist() == [[[1, 1], [2, 2]], [[0, 0], [2, 2]], [[0, 0], [2, 2]]]
    assert batch.mask.tolist() == [[False, False], [True, False], [True, False]]
    assert batch.lengths.tolist() == [1, 3]
    with pytest.raises(
        ValueError, match=r"pad_features: utterances must contain at least one utterance, got"
    ):
        pad_features([])
