"""The minGRU."""

from functools import partial

from sru_apps.nn.encoders.record import Encoder, build_stack
from sru_nn import MinGRU

ENCODER = Encoder(partial(build_stack, MinGRU))
