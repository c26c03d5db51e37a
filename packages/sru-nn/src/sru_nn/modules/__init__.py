"""Recurrent modules: one file per cell or stack."""

from sru_nn.modules.sru import SRU
from sru_nn.modules.sru_cell import SRUCell

__all__ = ["SRU", "SRUCell"]
