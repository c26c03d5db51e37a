"""`LSTM`, `GRU` and their cells with the interface of `torch.nn`, computed by Simple Recurrent Units.

    from torch import nn          →      from sru_nn import compat
    nn.LSTM(650, 650, 2)          →      compat.LSTM(650, 650, 2)

They are subclasses of PyTorch's modules and take and return the same shapes. The recurrence, its weights and
its state are those of an SRU, so weights of `nn.LSTM` and `nn.GRU` do not load.
"""

from sru_nn.compat.cells import GRUCell, LSTMCell
from sru_nn.compat.gru import GRU
from sru_nn.compat.lstm import LSTM

__all__ = ["GRU", "LSTM", "GRUCell", "LSTMCell"]
