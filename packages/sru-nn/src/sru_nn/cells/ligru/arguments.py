"""Argument checks for the recurrence of Li-GRU and SLi-GRU."""

from __future__ import annotations

from typing import Any, Literal, get_args

from sru_nn.arguments import Checker, check_choice, check_flags, check_number, check_probabilities
from sru_nn.positions import check_pieces

Normalization = Literal["none", "batch", "layer"]
Activation = Literal["relu", "tanh", "sin", "leaky_relu"]
_ACTIVATIONS = get_args(Activation)  # here, because the compiler of PyTorch 2.6 cannot call get_args


def check_options(who: str, normalization: Any, nonlinearity: Any, dropout: Any, **flags: Any) -> None:
    """Raise unless the options of a layer fit."""
    check_choice(who, "normalization", normalization, get_args(Normalization))
    check_choice(who, "nonlinearity", nonlinearity, _ACTIVATIONS)
    check_probabilities(who, dropout=dropout)
    check_flags(who, **flags)


def check_arguments(
    u: Any,
    weight: Any,
    h0: Any = None,
    bidirectional: Any = False,
    activation: Any = "relu",
    norm_eps: Any = None,
    norm_weight: Any = None,
    norm_bias: Any = None,
    mask_h: Any = None,
    mask_pad: Any = None,
    reset: Any = None,
    h_reset: Any = None,
    cu_seqlens: Any = None,
) -> None:
    """Raise unless the arguments of `sru_nn.functional.ligru_recurrence` fit."""
    check = Checker("ligru_recurrence", "u", u, "(T, B, 2, D)", "u_h before u_z", sizes=(2,))
    check_choice(check.who, "activation", activation, _ACTIVATIONS)
    if type(bidirectional) is not bool:
        check_flags(check.who, bidirectional=bidirectional)
    size = u.shape[3]
    columns = 2 * size if bidirectional else size
    check("weight", weight, "(2·D, D)", (2 * size, size))
    if norm_eps is not None:
        check_number(check.who, "norm_eps", norm_eps, at_least=0)
    for name, part in (("norm_weight", norm_weight), ("norm_bias", norm_bias)):
        if part is not None and norm_eps is None:
            raise ValueError(
                f"{check.who}: {name} has no effect without norm_eps; pass norm_eps, or {name}=None"
            )
        check(name, part, "(2·D,)", (2 * size,), optional=True)
    rows, count = check_pieces(check, mask_pad, reset, cu_seqlens, ("h0", "h_reset", h_reset))
    letters, shape = f"({rows}, N·D)", (count, columns)
    check("h0", h0, letters, shape, optional=True)
    check("mask_h", mask_h, letters, shape, optional=True)
    check("h_reset", h_reset, "(N·D,)", (columns,), optional=True)
