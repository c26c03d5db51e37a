"""A stack read layer by layer, so that each layer's call can be wrapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sru_nn import SRU, GatedLinearRNN, MinGRU


def read_by_layers(
    rnn: SRU | MinGRU | GatedLinearRNN, x: Tensor, state: Tensor | None, *, run: Callable[..., Any]
) -> tuple[Tensor, Tensor]:
    """Do what `rnn(x, state)` does.

    Args:
        rnn: A stack, time-major.
        x: (T, B, E).
        state: The states before, with the layers as the first axis; None at the start.
        run: Calls a layer with arguments.

    Returns:
        h: (T, B, D).
        state: The states after.
    """
    layers = rnn.rnn_lst if isinstance(rnn, SRU) else rnn.layers
    states = [None] * len(layers) if state is None else state.unbind(0)
    if rnn.input_to_hidden is not None:
        x = rnn.input_to_hidden(x)
    last = []
    for layer, before in zip(layers, states, strict=True):
        x, after = run(layer, x, before)
        last.append(after)
    return x if isinstance(rnn, SRU) else rnn.norm(x), torch.stack(last)
