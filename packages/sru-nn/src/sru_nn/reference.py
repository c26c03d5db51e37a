"""The recurrences in plain PyTorch: the oracle every kernel is tested against.

Written from the papers, with autograd for the gradients; nothing here calls a kernel or checks an argument
(`sru_nn.functional` does that once for every backend). Each stands in the folder of its cell.
"""

from sru_nn.cells.gated_linear.reference import gated_linear_recurrence, without_padding
from sru_nn.cells.mingru.reference import mingru_recurrence
from sru_nn.cells.sru.reference import (
    States,
    activate,
    reverse_second_direction,
    sru_recurrence,
    sru_states,
)
from sru_nn.dtypes import accumulate_dtype

__all__ = [
    "States",
    "accumulate_dtype",
    "activate",
    "gated_linear_recurrence",
    "mingru_recurrence",
    "reverse_second_direction",
    "sru_recurrence",
    "sru_states",
    "without_padding",
]
