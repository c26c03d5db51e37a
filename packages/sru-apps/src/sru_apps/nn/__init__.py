"""What the models share: recurrent encoders, pooling, dropout, adaptive layers."""

from sru_apps.nn.embedding import WordVectors
from sru_apps.nn.encoders import EncoderOptions, RecurrentEncoder, RecurrentName
from sru_apps.nn.layers import AttentionPooling, last, pool
from sru_apps.nn.states import State, concatenate_states, detach_state, select_streams

__all__ = [
    "AttentionPooling",
    "EncoderOptions",
    "RecurrentEncoder",
    "RecurrentName",
    "State",
    "WordVectors",
    "concatenate_states",
    "detach_state",
    "last",
    "pool",
    "select_streams",
]
