"""The SRU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from sru_apps.nn.encoders.record import Encoder, Options
from sru_apps.ranges import ranged
from sru_nn import SRU


@dataclass(frozen=True, kw_only=True)
class HighwayOptions(Options):
    """Options that `sru` and `srupp` share."""

    projection_size: int | None = ranged(None, at_least=1)
    """sru: inner width of each layer's weight, factored into two matrices; default: one full matrix.
    srupp: the width of the attention; default: a quarter of the hidden size."""
    layer_norm: bool | None = None
    """sru, srupp: normalise each layer's input; default: no."""
    normalize_after: bool | None = None
    """sru, srupp: make `layer_norm` normalise outputs instead of inputs; default: no."""
    highway_bias: float | None = None
    """sru, srupp: initial bias of the output gate; below zero favours the highway; default: 0, srupp: -2."""
    rescale: bool | None = None
    """sru, srupp: scale the highway to preserve the variance in deep stacks; default: no."""


@dataclass(frozen=True, kw_only=True)
class SRUOptions(HighwayOptions):
    """Options of `sru`."""

    activation: Literal["identity", "tanh", "relu"] | None = ranged(None, among=("identity", "tanh", "relu"))
    """sru: activation between state and output; default: identity."""
    rnn_dropout: float | None = ranged(None, at_least=0, below=1)
    """sru: variational dropout on each layer's input; default: 0."""


def build(
    input_size: int, hidden_size: int, num_layers: int, *, activation: str = "identity", **options: Any
) -> nn.Module:
    """Build the stack."""
    return SRU(
        input_size,
        hidden_size,
        num_layers,
        use_tanh=activation == "tanh",
        use_relu=activation == "relu",
        **options,
    )


def drop_inside(rnn: Any, dropout: float) -> None:
    """Apply dropout to each layer's projected input, and to the states before the output.

    Args:
        rnn: The stack.
        dropout: The probability; the stack's own input dropout, if any, is kept.
    """
    for layer in rnn.rnn_lst:
        layer.dropout, layer.rnn_dropout = dropout, layer.rnn_dropout or dropout
        # The initial weights compensate for the dropout.
        layer.reset_parameters()


ENCODER = Encoder(build, SRUOptions, both_ways=True, drop_inside=drop_inside)
