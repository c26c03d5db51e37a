from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data.features import spec_augment


def longest(hidden: torch.Tensor) -> int:
    runs = "".join("x" if value else " " for value in hidden.tolist()).split()
    return max(map(len, runs), default=0)


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=4),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 99),
)
def test_masks_stay_within_their_bounds(lengths, time_masks, frequency_masks, seed) -> None:
    torch.manual_seed(seed)
    x = torch.rand(max(lengths), len(lengths), 10) + 1
    kept = x.clone()
    found = spec_augment(
        x,
        torch.tensor(lengths),
        time_masks=time_masks,
        time_width=9,
        time_ratio=0.3,
        frequency_masks=frequency_masks,
        frequency_width=4,
    )
    assert torch.equal(x, kept)
    hidden = found == 0
    assert torch.equal(found[~hidden], x[~hidden])
    for b, length in enumerate(lengths):
        frames, features = hidden[:, b].all(1), hidden[:, b].all(0)
        # Masks may touch or overlap.
        assert longest(frames) <= time_masks * min(9, int(0.3 * length))
        assert longest(features) <= 4 * frequency_masks
        assert not bool(frames[length:].any())
        assert torch.equal(hidden[:, b], frames[:, None] | features)


def test_every_width_and_place_occurs() -> None:
    torch.manual_seed(0)
    lengths = torch.full((4000,), 10)
    found = spec_augment(
        torch.ones(10, 4000, 1), lengths, time_masks=1, time_width=3, time_ratio=1.0, frequency_masks=0
    )
    hidden = found[:, :, 0].T == 0
    widths = hidden.sum(1).bincount(minlength=4) / 4000
    torch.testing.assert_close(widths, torch.full((4,), 0.25), rtol=0, atol=0.03)
    starts = hidden[hidden.sum(1) == 3].float().argmax(1).bincount(minlength=8)
    torch.testing.assert_close(starts / starts.sum(), torch.full((8,), 0.125), rtol=0, atol=0.04)


def test_masks_depend_on_the_global_generator_and_hold_the_given_value() -> None:
    x, lengths = torch.ones(20, 3, 8), torch.tensor([20, 11, 1])
    value = torch.arange(8.0) + 5
    torch.manual_seed(3)
    first = spec_augment(x, lengths, value=value)
    torch.manual_seed(3)
    assert torch.equal(spec_augment(x, lengths, value=value), first)
    changed = first != 1
    assert bool(changed.any())
    assert torch.equal(first[changed], value.expand_as(first)[changed])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_masks": -1}, r"time_masks must not be negative, got -1"),
        ({"frequency_width": -2}, r"frequency_width must not be negative, got -2"),
        ({"time_ratio": 1.5}, r"time_ratio must be 0 to 1, got 1\.5"),
    ],
)
def test_wrong_options_are_errors(options, message: str) -> None:
    with pytest.raises(ValueError, match=f"spec_augment: {message}"):
        spec_augment(torch.zeros(3, 1, 2), torch.tensor([3]), **options)
