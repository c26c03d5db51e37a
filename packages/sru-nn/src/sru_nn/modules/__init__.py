"""Recurrent modules: one file per cell or stack."""

from sru_nn.modules.gated_linear import GatedLinearRNN
from sru_nn.modules.mingru import MinGRU
from sru_nn.modules.sru import SRU
from sru_nn.modules.sru_cell import SRUCell
from sru_nn.modules.srupp import SRUpp
from sru_nn.modules.srupp_attention import SRUppAttention, SRUppProjectedLinear
from sru_nn.modules.srupp_cell import SRUppCell
from sru_nn.modules.srupp_state import SRUppState

__all__ = [
    "SRU",
    "GatedLinearRNN",
    "MinGRU",
    "SRUCell",
    "SRUpp",
    "SRUppAttention",
    "SRUppCell",
    "SRUppProjectedLinear",
    "SRUppState",
]
