"""Building blocks of the models: recurrent encoders, attention, pooling, dropout, adaptive layers."""

from sru_apps.nn.attention import AlignedAttention, BilinearAttention, weighted_mean
from sru_apps.nn.embedding import WordVectors
from sru_apps.nn.encoders import EncoderOptions, RecurrentEncoder, RecurrentName
from sru_apps.nn.layers import AttentionPooling, last, make_dropout, pool
from sru_apps.nn.stacked import StackedEncoder
from sru_apps.nn.states import State, concatenate_states, detach_state, select_streams

__all__ = [
    "AlignedAttention",
    "AttentionPooling",
    "BilinearAttention",
    "EncoderOptions",
    "RecurrentEncoder",
    "RecurrentName",
    "StackedEncoder",
    "State",
    "WordVectors",
    "concatenate_states",
    "detach_state",
    "last",
    "make_dropout",
    "pool",
    "select_streams",
    "weighted_mean",
]
