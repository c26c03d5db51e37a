"""Argument checks for the recurrence of the SRU."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor

from sru_nn.arguments import Checker, check_choice, check_flags
from sru_nn.positions import check_pieces

Activation = Literal["identity", "tanh", "relu"]
_ACTIVATIONS = get_args(Activation)


def check_arguments(
    u: Any,
    v: Any,
    bias: Any,
    c0: Any = None,
    x: Any = None,
    mask_c: Any = None,
    mask_pad: Any = None,
    bidirectional: Any = False,
    activation: Any = "identity",
    scale_x: float = 1.0,
    reset: Any = None,
    c_reset: Any = None,
    cu_seqlens: Any = None,
) -> None:
    """Raise unless the arguments of `sru_nn.functional.sru_recurrence` fit."""
    check = Checker("sru_recurrence", "u", u, "(T, B, K, N·D)", "gates before columns", sizes=(3, 4))
    check_choice(check.who, "activation", activation, _ACTIVATIONS)
    if type(bidirectional) is not bool:
        check_flags("sru_recurrence", bidirectional=bidirectional)
    length, batch, gates, columns = u.shape
    if bidirectional and columns % 2:
        raise ValueError(
            f"sru_recurrence: bidirectional needs an even number of columns N·D, "
            f"got {columns} in u {tuple(u.shape)}"
        )
    if x is not None and gates == 4:
        raise ValueError("sru_recurrence: u with K = 4 gates brings its own highway term u_x; pass x=None")
    if x is None and scale_x != 1.0:
        raise ValueError(
            f"sru_recurrence: scale_x = {scale_x} has no effect without x; pass x or leave scale_x at 1"
        )
    per_position = isinstance(v, Tensor) and v.dim() == 4
    letters, shape = ("(T, B, 2, N·D)", (length, batch)) if per_position else ("(2, N·D)", ())
    check("v", v, letters, (*shape, 2, columns))
    check("bias", bias, "(2, N·D)", (2, columns))
    check("x", x, "(T, B, N·D)", (length, batch, columns), (u.dtype,), optional=True)
    rows, count = check_pieces(check, mask_pad, reset, cu_seqlens, ("c0", "c_reset", c_reset))
    letters, shape = f"({rows}, N·D)", (count, columns)
    check("c0", c0, letters, shape, optional=True)
    check("mask_c", mask_c, letters, shape, optional=True)
    check("c_reset", c_reset, "(N·D,)", (columns,), optional=True)
