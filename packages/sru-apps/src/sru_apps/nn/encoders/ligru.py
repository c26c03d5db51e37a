"""The Li-GRU and the SLi-GRU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import nn

from sru_apps.nn.encoders.record import Encoder, Options
from sru_apps.ranges import ranged
from sru_nn import LiGRU, SLiGRU

_NORMS = ("layer", "batch", "none")


@dataclass(frozen=True, kw_only=True)
class LiGRUOptions(Options):
    """Options of `ligru` and `sligru`."""

    normalization: Literal["layer", "batch", "none"] | None = ranged(None, among=_NORMS)
    """ligru, sligru: how each layer's projected input is normalised; batch mixes the sequences of a batch in
    training; default: layer."""


def build(
    kind: type[LiGRU] | type[SLiGRU],
    input_size: int,
    hidden_size: int,
    num_layers: int,
    *,
    normalization: Literal["layer", "batch", "none"] = "layer",
    **options: Any,
) -> nn.Module:
    """Build the stack; dropout applies to the candidates of every layer."""
    return kind(input_size, hidden_size, num_layers, normalization=normalization, **options)


LIGRU, SLIGRU = (Encoder(partial(build, kind), LiGRUOptions, both_ways=True) for kind in (LiGRU, SLiGRU))
