"""The recurrences in plain PyTorch: the oracle every kernel is tested against.

Written from the papers, with autograd for the gradients; nothing here calls a kernel. Each stands in the
folder of its cell. Here arguments are checked, those of the recurrences as in `sru_nn.functional`.
"""

from collections.abc import Callable
from types import FunctionType

from sru_nn.arguments import checked
from sru_nn.cells.gated_linear import arguments as _gated_linear
from sru_nn.cells.gated_linear.reference import gated_linear_recurrence, without_padding
from sru_nn.cells.ligru import arguments as _ligru
from sru_nn.cells.ligru.reference import ligru_recurrence
from sru_nn.cells.mingru import arguments as _mingru
from sru_nn.cells.mingru.reference import mingru_recurrence
from sru_nn.cells.sru import arguments as _sru
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
    "ligru_recurrence",
    "mingru_recurrence",
    "reverse_second_direction",
    "sru_recurrence",
    "sru_states",
    "without_padding",
]

# The cells call their own, which trust their arguments.
_functions = [function for function in map(globals().get, __all__) if isinstance(function, FunctionType)]
_checks: dict[str, Callable[..., None]] = {
    "sru_recurrence": _sru.check_arguments,
    "gated_linear_recurrence": _gated_linear.check_arguments,
    "ligru_recurrence": _ligru.check_arguments,
    "mingru_recurrence": _mingru.check_arguments,
}
globals().update(
    {
        function.__name__: checked(__name__, function, _checks.get(function.__name__))
        for function in _functions
    }
)
