"""The recurrences in plain PyTorch: the oracle every kernel is tested against.

Written from the papers, with autograd for the gradients; nothing here calls a kernel. Each stands in the
folder of its cell. Here the types of arguments are checked; `sru_nn.functional` checks their shapes too.
"""

from sru_nn.arguments import checked
from sru_nn.cells.gated_linear import reference as gated_linear
from sru_nn.cells.mingru import reference as mingru
from sru_nn.cells.sru import reference as sru
from sru_nn.dtypes import accumulate_dtype

States = sru.States
activate = checked(sru.activate)
gated_linear_recurrence = checked(gated_linear.gated_linear_recurrence)
mingru_recurrence = checked(mingru.mingru_recurrence)
reverse_second_direction = checked(sru.reverse_second_direction)
sru_recurrence = checked(sru.sru_recurrence)
sru_states = checked(sru.sru_states)
without_padding = checked(gated_linear.without_padding)

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
