"""All encoders: a sequence that begins within a row is read independently of what precedes it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_apps.nn import EncoderOptions, RecurrentEncoder, detach_state

from .test_encoder import BOTH_WAYS, NAMES, build, inputs, mask_of


def options_of(name: str, memory: int = 3) -> EncoderOptions | None:
    return EncoderOptions(memory_length=memory) if name == "srupp" else None


def one_by_one(
    encoder: RecurrentEncoder, x: torch.Tensor, reset: torch.Tensor, lengths: list[int]
) -> torch.Tensor:
    """Encode each sequence of each row separately."""
    rows = []
    for b, length in enumerate(lengths):
        places = [0, *(t for t in range(1, length) if reset[t, b]), length]
        parts = [encoder(x[begin:end, b : b + 1])[0] for begin, end in pairwise(places)]
        rows.append(torch.cat([*parts, parts[0].new_zeros(len(x) - length, 1, parts[0].shape[-1])]))
    return torch.cat(rows, 1)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("name", "bidirectional"), [*((name, False) for name in NAMES), *((name, True) for name in BOTH_WAYS)]
)
def test_each_sequence_is_read_alone(name: str, bidirectional: bool, training: bool, masked: bool) -> None:
    encoder = build(name, bidirectional=bidirectional, options=options_of(name)).train(training)
    x, reset = inputs(7, 3), torch.rand(7, 3) < 0.4
    lengths = [7, 1, 4] if masked else [7, 7, 7]
    h, _ = encoder(x, mask_of(lengths, 7) if masked else None, reset=reset)
    torch.testing.assert_close(h, one_by_one(encoder, x, reset, lengths))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8)
@given(
    cuts=st.lists(st.integers(1, 8), max_size=3, unique=True).map(sorted),
    memory=st.integers(1, 12),
    share=st.sampled_from([0.1, 0.5]),
)
def test_pieces_with_the_state_carried_on(
    name: str, training: bool, cuts: list[int], memory: int, share: float
) -> None:
    """Also in segments of which only some have a beginning, or no `reset` at all."""
    encoder = build(name, options=options_of(name, memory)).train(training)
    x, reset = inputs(9, 2), torch.rand(9, 2) < share
    whole, last = encoder(x, reset=reset)
    state, parts = None, []
    for begin, end in zip([0, *cuts], [*cuts, 9], strict=True):
        marks = reset[begin:end]
        h, state = encoder(x[begin:end], state=state, reset=marks if marks.any() else None)
        parts.append(h)
        state = detach_state(state)
    torch.testing.assert_close(torch.cat(parts), whole)
    after = inputs(2, 2)
    torch.testing.assert_close(encoder(after, state=state)[0], encoder(after, state=last)[0])


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_states_in_both_directions(name: str) -> None:
    """One direction starts the first piece of a row from the given state, the other the last piece."""
    encoder = build(name, num_layers=1, bidirectional=True)
    x, reset = inputs(5, 2), torch.zeros(5, 2, dtype=torch.bool)
    reset[2] = True
    _, state = encoder(inputs(3, 2))
    h, last = encoder(x, state=state, reset=reset)
    (begun, _), (anew, after_second) = encoder(x[:2], state=state), encoder(x[2:])
    torch.testing.assert_close(h[..., :4], torch.cat([begun, anew])[..., :4])
    (anew, after_first), (begun, _) = encoder(x[:2]), encoder(x[2:], state=state)
    torch.testing.assert_close(h[..., 4:], torch.cat([anew, begun])[..., 4:])
    for found, second, first in zip(ends(last), ends(after_second), ends(after_first), strict=True):
        torch.testing.assert_close(found, (second[0], first[1]))


def ends(state: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The first and the second direction of each tensor of a state."""
    parts = state if isinstance(state, tuple) else (state,)
    if parts[0].shape[-1] == 8:  # the directions side by side
        return [(part[..., :4], part[..., 4:]) for part in parts]
    return [(part[::2], part[1::2]) for part in parts]


@pytest.mark.parametrize("name", NAMES)
def test_activation_checkpointing_changes_no_result(name: str) -> None:
    x, reset = inputs(6, 2), torch.rand(6, 2) < 0.4
    upstream = torch.randn(6, 2, 4, dtype=torch.float64)
    results = []
    for checkpointing in (False, True):
        encoder = build(name, num_layers=3, activation_checkpointing=checkpointing)
        leaf = x.clone().requires_grad_()
        h, _ = encoder(leaf, reset=reset)
        (h * upstream).sum().backward()
        results.append([h, leaf.grad, *(parameter.grad for parameter in encoder.parameters())])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)
