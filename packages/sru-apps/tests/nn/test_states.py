"""Detached, selected and concatenated states equal those of streams read in that form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sru_apps.nn import (
    EncoderOptions,
    RecurrentEncoder,
    concatenate_states,
    detach_state,
    select_streams,
)
from sru_apps.nn.states import map_state

NAMES = ["sru", "srupp", "lstm", "gru", "sligru", "mingru", "gated-linear"]


@pytest.fixture(params=NAMES)
def encoder(request: pytest.FixtureRequest) -> RecurrentEncoder:
    torch.manual_seed(0)
    options = None
    if request.param == "srupp":
        options = EncoderOptions(memory_length=6, attention_last_n_layers=1, projection_size=4)
    encoder = RecurrentEncoder(request.param, 5, 4, options=options).double()
    for name, parameter in encoder.named_parameters():
        if name.endswith("alpha"):
            nn.init.constant_(parameter, 0.7)
    return encoder


def tensors_of(state: Any) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    return [] if state is None else [tensor for part in state for tensor in tensors_of(part)]


@pytest.mark.parametrize("training", [False, True])
def test_detach_ends_the_gradient(encoder: RecurrentEncoder, training: bool) -> None:
    _, state = encoder.train(training)(torch.randn(3, 2, 5, dtype=torch.float64))
    assert any(tensor.requires_grad for tensor in tensors_of(state))
    detached = detach_state(state)
    assert type(detached) is type(state)
    assert not any(tensor.requires_grad for tensor in tensors_of(detached))
    torch.testing.assert_close(tensors_of(detached), tensors_of(state))
    assert detach_state(None) is None


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_selected_streams(encoder: RecurrentEncoder, training: bool, padded: bool) -> None:
    encoder.train(training)
    index = torch.tensor([2, 0, 2])
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    mask = torch.arange(4).unsqueeze(1) >= torch.tensor([4, 3, 1]) if padded else None
    _, state = encoder(x, mask)
    _, wanted = encoder(x[:, index], None if mask is None else mask[:, index])
    chosen = select_streams(state, index)
    assert type(chosen) is type(wanted)
    torch.testing.assert_close(tensors_of(chosen), tensors_of(wanted))
    assert select_streams(None, index) is None


def test_concatenated_states_of_texts_of_different_lengths(encoder: RecurrentEncoder) -> None:
    encoder.eval()
    texts = [torch.randn(length, 2, 5, dtype=torch.float64) for length in (9, 2, 4)]
    more = torch.randn(5, 6, 5, dtype=torch.float64)
    state = concatenate_states([encoder(text)[1] for text in texts])
    for x in more:
        h, state = encoder.step(x, state)
        state = concatenate_states(
            [select_streams(state, torch.tensor(part)) for part in ([0, 1], [2, 3, 4, 5])]
        )
    for number, text in enumerate(texts):
        columns = slice(2 * number, 2 * number + 2)
        whole, _ = encoder(torch.cat([text, more[:, columns]]))
        torch.testing.assert_close(h[columns], whole[-1])


def test_map_state():
    state = (torch.ones(2), (None, (torch.zeros(1),)))
    more = map_state(state, lambda part: part + 1)
    assert (more[0].tolist(), more[1][0], more[1][1][0].tolist()) == ([2, 2], None, [1])
