"""Argument checks for the recurrence of the minimal GRU."""

from __future__ import annotations

from typing import Any

from sru_nn.arguments import Checker
from sru_nn.positions import check_pieces


def check_arguments(
    u: Any,
    h0: Any = None,
    mask_pad: Any = None,
    reset: Any = None,
    h_reset: Any = None,
    cu_seqlens: Any = None,
) -> None:
    """Raise unless the arguments of `sru_nn.functional.mingru_recurrence` fit."""
    check = Checker("mingru_recurrence", "u", u, "(T, B, 2, D)", "u_h before u_z", sizes=(2,))
    columns = u.shape[3]
    rows, count = check_pieces(check, mask_pad, reset, cu_seqlens, ("h0", "h_reset", h_reset))
    check("h0", h0, f"({rows}, D)", (count, columns), optional=True)
    check("h_reset", h_reset, "(D,)", (columns,), optional=True)
