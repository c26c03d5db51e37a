"""What the models share: recurrent encoders, pooling, dropout, adaptive layers."""

from sru_apps.nn.encoders import EncoderOptions, RecurrentEncoder, RecurrentName
from sru_apps.nn.pooling import pool
from sru_apps.nn.states import State, concatenate_states, detach_state, select_streams

__all__ = [
    "EncoderOptions",
    "RecurrentEncoder",
    "RecurrentName",
    "State",
    "concatenate_states",
    "detach_state",
    "pool",
    "select_streams",
]
