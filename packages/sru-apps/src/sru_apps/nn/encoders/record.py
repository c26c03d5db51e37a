"""The record of an encoder: its options, how it is built, and how it reads a sequence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sru_apps.ranges import check_ranges

Run = Callable[..., tuple[Tensor, Any]]
"""Calls a module with arguments, perhaps under activation checkpointing."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of an encoder; None leaves a choice to the encoder.

    Raises:
        ValueError: A value is out of range.
    """

    def __post_init__(self) -> None:
        check_ranges(self)


def call(module: Run, *args: Any, **options: Any) -> tuple[Tensor, Any]:
    """Call a module: the `Run` without checkpointing."""
    return module(*args, **options)


def between_layers(dropout: float, num_layers: int) -> float:
    """Return the dropout between layers: 0 for a single layer."""
    return dropout if num_layers > 1 else 0.0


def build_stack(
    kind: Callable[..., nn.Module],
    input_size: int,
    hidden_size: int,
    num_layers: int,
    *,
    dropout: float,
    bidirectional: bool,
    **options: Any,
) -> nn.Module:
    """Build a unidirectional stack."""
    return kind(input_size, hidden_size, num_layers, dropout=between_layers(dropout, num_layers), **options)


def read_stack(
    rnn: Any,
    x: Tensor,
    mask: Tensor | None,
    state: Any,
    reset: Tensor | None,
    *,
    run: Run,
    by_layers: bool,
) -> tuple[Tensor, Any]:
    """Read a sequence with one of the stacks of sru-nn.

    Args:
        rnn: An SRU, LiGRU, SLiGRU, MinGRU or GatedLinearRNN, time-major.
        x: (T, B, E).
        mask: (T, B) bool, True at padding, or None.
        state: The states before, with the layers as the first axis; None at the start.
        reset: (T, B) bool, True where a sequence begins, or None.
        run: Calls a module with arguments.
        by_layers: Whether to call `run` for each layer instead of the whole stack.

    Returns:
        h: (T, B, N·D).
        state: The states after.
    """
    if not by_layers or mask is not None:
        return run(rnn, x, state, mask, reset=reset)
    layers = rnn.rnn_lst if hasattr(rnn, "rnn_lst") else rnn.layers
    states = [None] * len(layers) if state is None else state.unbind(0)
    if rnn.input_to_hidden is not None:
        x = rnn.input_to_hidden(x)
    last = []
    for layer, before in zip(layers, states, strict=True):
        x, after = run(layer, x, before, reset=reset)
        last.append(after)
    norm = getattr(rnn, "norm", None)
    return x if norm is None else norm(x), torch.stack(last)


def step_stack(rnn: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Read one position with one of the stacks of sru-nn."""
    return rnn.step(x, state)  # type: ignore[no-any-return]


class Encoder(NamedTuple):
    """An encoder, declared in its own file and listed in `sru_apps.nn.encoders`."""

    build: Callable[..., nn.Module]
    """Called with (input_size, hidden_size, num_layers, dropout=, bidirectional=, **options)."""
    options: type[Options] = Options
    """The options that `build` takes besides the sizes."""
    both_ways: bool = False
    """Whether it can read a sequence in both directions."""
    read: Callable[..., tuple[Tensor, Any]] = read_stack
    """Reads a sequence; called as `read_stack` is."""
    step: Callable[[Any, Tensor, Any], tuple[Tensor, Any]] = step_stack
    """Reads one position."""
    drop_inside: Callable[[Any, float], None] | None = None
    """Applies variational dropout inside every layer, including the last; None if the cell cannot."""
