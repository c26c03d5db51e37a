"""Text cut into streams and segments."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_apps.language_modelling.data import TextStreams
from sru_apps.training.errors import UserError


@settings(deadline=None)
@given(symbols=st.integers(2, 60), batch_size=st.integers(1, 6), length=st.integers(1, 9))
def test_the_streams_are_the_text(symbols, batch_size, length):
    ids = torch.arange(symbols)
    if symbols <= batch_size:
        with pytest.raises(UserError, match="too short"):
            TextStreams(ids, batch_size=batch_size, length=length)
        return
    streams = TextStreams(ids, batch_size=batch_size, length=length)
    segments = list(streams)
    assert len(segments) == len(streams)
    assert all(len(segment.inputs) == length for segment in segments[:-1])
    inputs = torch.cat([segment.inputs for segment in segments])
    targets = torch.cat([segment.targets for segment in segments])
    assert torch.equal(inputs.t().flatten(), ids[: inputs.numel()])
    assert torch.equal(targets, inputs + 1)
    assert symbols - 1 - inputs.numel() < batch_size


def test_a_text_that_is_too_short():
    message = "a text of 8 symbols is too short for 8 streams, which take at least 9; give a longer text"
    with pytest.raises(UserError, match=message):
        TextStreams(torch.arange(8), batch_size=8, length=4)
