"""The gated linear RNN, whose state is a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sru_apps.nn.encoders.record import Encoder, Options, build_stack
from sru_apps.ranges import ranged
from sru_nn import GatedLinearRNN


@dataclass(frozen=True, kw_only=True)
class GatedLinearOptions(Options):
    """Options of `gated-linear`."""

    num_heads: int | None = ranged(None, at_least=1)
    """srupp, gated-linear: heads of each layer; default: 1."""
    key_size: int | None = ranged(None, at_least=1)
    """gated-linear: width of a head's keys; default: the width of its values, D / heads."""
    output_gate: bool | None = None
    """gated-linear: gate what a layer reads from its state; default: no."""


ENCODER = Encoder(partial(build_stack, GatedLinearRNN), GatedLinearOptions)
