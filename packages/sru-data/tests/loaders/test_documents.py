"""Where documents begin, in streams and in windows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sru_data.loaders import StreamLoader, WindowLoader

SEPARATOR = 3
TEXTS = st.lists(st.integers(1, SEPARATOR), min_size=2, max_size=80).map(torch.tensor)
DTYPES = st.sampled_from([torch.uint16, torch.int32, torch.int64])


def beginnings(tokens: torch.Tensor) -> list[bool]:
    """For each token, whether it is the first of a document."""
    return [True, *(before == SEPARATOR for before in tokens.tolist()[:-1])]


@settings(max_examples=50)
@given(TEXTS, DTYPES, st.integers(1, 3), st.integers(1, 9), st.booleans(), st.integers(1, 2))
def test_streams(tokens, dtype, batch_size, length, whole, world_size) -> None:
    """Also where a segment or a stream begins, on each rank."""
    streams, expected = batch_size * world_size, beginnings(tokens)
    assume(whole or len(tokens) > streams)
    found = [False] * len(tokens)
    for rank in range(world_size):
        options = {"whole": whole, "rank": rank, "world_size": world_size, "separator": SEPARATOR}
        loader = StreamLoader(tokens.to(dtype), batch_size=batch_size, length=length, **options)
        segments = list(loader)
        assert all(part.reset.shape == part.inputs.shape for part in segments)
        assert all(part.reset.dtype == torch.bool for part in segments)
        reset = torch.cat([part.reset for part in segments])
        for b in range(batch_size):
            place = (rank * batch_size + b) * loader.steps
            real = max(0, min(loader.steps, len(tokens) - place))
            assert reset[:real, b].tolist() == expected[place : place + real]
            found[place : place + real] = reset[:real, b].tolist()
    end = min(len(tokens), streams * loader.steps)
    assert found[:end] == expected[:end]


@settings(max_examples=50)
@given(TEXTS, DTYPES, st.integers(1, 3), st.integers(1, 9), st.data())
def test_windows(tokens, dtype, batch_size, window, data) -> None:
    stride, expected = data.draw(st.integers(1, window)), beginnings(tokens)
    loader = WindowLoader(
        tokens.to(dtype), batch_size=batch_size, window=window, stride=stride, separator=SEPARATOR
    )
    columns = torch.cat([batch.reset.t() for batch in loader])
    for number, column in enumerate(columns[: loader.windows]):
        begin = number * stride
        wanted = expected[begin : begin + window]
        assert column[: len(wanted)].tolist() == wanted


@pytest.mark.parametrize("length", [1, 3, 4])
def test_by_example(length: int) -> None:
    """The second document begins within a segment, or with one; the second stream begins within it."""
    text = torch.tensor([7, 8, SEPARATOR, 9, 7, 8, 9, 7, 8])
    reset = [part.reset for part in StreamLoader(text, batch_size=2, length=length, separator=SEPARATOR)]
    assert torch.cat(reset).t().int().tolist() == [[1, 0, 0, 1], [0, 0, 0, 0]]


def test_one_document_has_no_marks(positions) -> None:
    assert {segment.reset for segment in StreamLoader(positions(20), batch_size=2, length=3)} == {None}
    assert {batch.reset for batch in WindowLoader(positions(20), batch_size=2, window=4, stride=2)} == {None}
