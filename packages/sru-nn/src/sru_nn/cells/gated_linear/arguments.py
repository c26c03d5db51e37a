"""Argument checks for the recurrence of the gated linear RNN."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sru_nn.arguments import Checker
from sru_nn.positions import check_pieces


def check_arguments(
    q: Any,
    k: Any,
    v: Any,
    log_g: Any,
    s0: Any = None,
    mask_pad: Any = None,
    reset: Any = None,
    s_reset: Any = None,
    cu_seqlens: Any = None,
) -> None:
    """Raise unless the arguments of `sru_nn.functional.gated_linear_recurrence` fit."""
    check = Checker("gated_linear_recurrence", "q", q, "(T, B, H, K)", "heads before keys")
    length, batch, heads, key_size = q.shape
    value_size = v.shape[-1] if isinstance(v, Tensor) and v.dim() == 4 else "V"
    check("k", k, "(T, B, H, K)", (length, batch, heads, key_size), (q.dtype,))
    check("v", v, "(T, B, H, V)", (length, batch, heads, value_size), (q.dtype,))
    check("log_g", log_g, "(T, B, H, K)", (length, batch, heads, key_size))
    rows, count = check_pieces(check, mask_pad, reset, cu_seqlens, ("s0", "s_reset", s_reset))
    check("s0", s0, f"({rows}, H, K, V)", (count, heads, key_size, value_size), optional=True)
    check("s_reset", s_reset, "(H, K, V)", (heads, key_size, value_size), optional=True)
