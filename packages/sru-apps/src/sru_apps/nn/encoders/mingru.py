"""The minGRU."""

from __future__ import annotations

from torch import nn

from sru_apps.nn.encoders.record import Encoder, between_layers
from sru_nn import MinGRU


def build(
    input_size: int, hidden_size: int, num_layers: int, *, dropout: float, bidirectional: bool
) -> nn.Module:
    """Build the stack."""
    return MinGRU(input_size, hidden_size, num_layers, dropout=between_layers(dropout, num_layers))


ENCODER = Encoder(build)
