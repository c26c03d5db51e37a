from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data.features import statistics


@settings(max_examples=25)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.sampled_from([0.0, 1e6]), st.integers(0, 99))
def test_they_are_those_of_all_frames_at_once(lengths, level, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    utterances = [torch.randn(length, 3, generator=generator) + level for length in [*lengths, 2]]
    mean, deviation = statistics(iter(utterances))
    frames = torch.cat(utterances).double()
    torch.testing.assert_close(mean, frames.mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(deviation, frames.std(0, unbiased=False), rtol=1e-9, atol=0)


def test_what_never_changes_has_the_deviation_one() -> None:
    mean, deviation = statistics([torch.tensor([[0.1, 1.0], [0.1, 3.0]]), torch.tensor([[0.1, 5.0]])])
    assert mean.tolist() == pytest.approx([0.1, 3.0])
    assert deviation.tolist() == pytest.approx([1.0, (8 / 3) ** 0.5])


def test_no_frame_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"statistics: utterances must have at least one frame, got none"):
        statistics([torch.empty(0, 3)])
