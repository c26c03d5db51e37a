"""Simple Recurrent Units for PyTorch.

`SRU` and `SRUCell` replace the modules of the same name in the `sru` package, version 2.6.0; `SRUpp` and the
modules it is built from replace those of version 3.0.0.dev6. `LiGRU` and `SLiGRU` replace the modules of
SpeechBrain and `fast_sligru`. `GatedLinearRNN` and `MinGRU` are recurrent networks whose gates do not depend
on the state. `functional` has the bare recurrences, to use with your own projections.
"""

import warnings

import torch

from sru_nn import backend, compat, export, functional
from sru_nn.cells.gated_linear.layer import GatedLinearRNN
from sru_nn.cells.ligru.stack import LiGRU, SLiGRU
from sru_nn.cells.mingru.layer import MinGRU
from sru_nn.cells.sru.layer import SRUCell
from sru_nn.cells.sru.stack import SRU
from sru_nn.cells.srupp.attention import SRUppAttention
from sru_nn.cells.srupp.layer import SRUppCell
from sru_nn.cells.srupp.stack import SRUpp
from sru_nn.cells.srupp.state import SRUppState
from sru_nn.cells.srupp.transform import SRUppProjectedLinear

__version__ = "0.1.0"

# As PyTorch does for its own modules: comparisons in our argument checks do not affect the trace.
_TracerWarning = torch.jit.TracerWarning  # type: ignore[attr-defined]
warnings.filterwarnings("ignore", category=_TracerWarning, module=r"sru_nn\.")

__all__ = [
    "SRU",
    "GatedLinearRNN",
    "LiGRU",
    "MinGRU",
    "SLiGRU",
    "SRUCell",
    "SRUpp",
    "SRUppAttention",
    "SRUppCell",
    "SRUppProjectedLinear",
    "SRUppState",
    "__version__",
    "backend",
    "compat",
    "export",
    "functional",
]
