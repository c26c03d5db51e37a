"""What the modules refuse, with the sentence that says why."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn


def check_cell_arguments(
    input_size: int,
    hidden_size: int,
    n_proj: int,
    dropout: float,
    rnn_dropout: float,
    use_tanh: bool,
    use_relu: bool,
) -> None:
    """Raise on the first argument of `SRUCell` that is outside its range."""
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if size < 1:
            raise ValueError(f"SRUCell: {name} must be at least 1, got {size}")
    if n_proj < 0:
        raise ValueError(f"SRUCell: the projection size must be 0 (none) or positive, got {n_proj}")
    for name, p in (("dropout", dropout), ("rnn_dropout", rnn_dropout)):
        if not 0 <= p < 1:
            raise ValueError(f"SRUCell: {name} must be a probability in [0, 1), got {p}")
    if use_tanh and use_relu:
        raise ValueError("SRUCell: use_tanh and use_relu exclude each other; choose one")


_T = TypeVar("_T")


def one_of_two_names(who: str, name: str, value: _T, usual: _T, alias: str, other: _T | None) -> _T:
    """Return an argument that may be given by either of two names, as `sru` 2 and 3 call it."""
    if other is None:
        return value
    if value != usual:
        raise ValueError(f"{who}: {name} and {alias} are two names of one argument; pass one of them")
    return other


def check_like_parameters(who: str, input: Tensor, parameters: nn.Module | Tensor) -> None:
    """Raise unless a module that holds these parameters can take this input.

    Args:
        who: The class, for the message.
        input: The input.
        parameters: A module with the parameters that meet the input first, or one of them whose device alone
            counts. One that keeps no floating-point parameters, as quantized ones do, is not asked.

    Raises:
        TypeError: The dtype differs, outside autocast.
        ValueError: The device differs.
    """
    if not input.is_floating_point():
        raise TypeError(
            f"{who}: input must be a floating-point tensor, got {input.dtype}; convert it with .float()"
        )
    # Not next(..., None), which torch.compile of PyTorch 2.6 cannot trace.
    own = parameters if isinstance(parameters, Tensor) else [*parameters.parameters(), None][0]
    if own is None:
        return
    if input.device != own.device:
        raise ValueError(
            f"{who}: input must be on the device of the parameters, {own.device}, got {input.device}; "
            "move one of them with .to()"
        )
    if own is parameters or input.dtype == own.dtype or torch.is_autocast_enabled(input.device.type):
        return
    raise TypeError(
        f"{who}: input must have the dtype of the parameters, {own.dtype}, got {input.dtype}; "
        "convert one of them with .to()"
    )
