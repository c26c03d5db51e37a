"""Recurrent sequence encoders behind one name."""

from sru_apps.encoders.options import EncoderOptions, RecurrentName
from sru_apps.encoders.pooling import pool
from sru_apps.encoders.recurrent import RecurrentEncoder
from sru_apps.encoders.states import State, concatenate_states, detach_state, select_streams

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
