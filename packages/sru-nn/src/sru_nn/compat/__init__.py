"""`LSTM`, `GRU` and their cells with the calls of `torch.nn`, computed by Simple Recurrent Units.

    from torch import nn          →      from sru_nn import compat
    nn.LSTM(650, 650, 2)          →      compat.LSTM(650, 650, 2)

The shapes of arguments and results are those of PyTorch's modules, of which these are subclasses. The
recurrence, its weights and its state are those of an SRU, so weights of `nn.LSTM` and `nn.GRU` do not load.
"""

from sru_nn.compat.cells import GRUCell, LSTMCell
from sru_nn.compat.gru import GRU
from sru_nn.compat.lstm import LSTM

__all__ = ["GRU", "LSTM", "GRUCell", "LSTMCell"]
