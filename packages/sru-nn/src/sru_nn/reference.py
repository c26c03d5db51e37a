"""The recurrences in plain PyTorch: the oracle every kernel is tested against.

Written from the papers, with autograd for the gradients; nothing here calls a kernel. Each is in the folder
of its cell. Arguments are checked here as in `sru_nn.functional`.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any

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
from sru_nn.positions import check_ends as _check_ends

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


def _with_ends(name: str, check: Callable[..., None]) -> Callable[..., None]:
    """Return the check of a recurrence extended by a check of the values of `cu_seqlens`."""

    def run(**given: Any) -> None:
        check(**given)
        _check_ends(name, given.get("cu_seqlens"), next(iter(given.values())).shape[0])

    return run


# The cells call their own functions, which do not check their arguments.
_functions = [function for function in map(globals().get, __all__) if isinstance(function, FunctionType)]
_checks: dict[str, Callable[..., None]] = {
    "sru_recurrence": _with_ends("sru_recurrence", _sru.check_arguments),
    "gated_linear_recurrence": _with_ends("gated_linear_recurrence", _gated_linear.check_arguments),
    "ligru_recurrence": _with_ends("ligru_recurrence", _ligru.check_arguments),
    "mingru_recurrence": _with_ends("mingru_recurrence", _mingru.check_arguments),
}
globals().update(
    {
        function.__name__: checked(__name__, function, _checks.get(function.__name__))
        for function in _functions
    }
)
