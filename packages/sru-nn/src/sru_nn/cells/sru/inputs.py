"""The arguments of an SRU layer's call, checked and converted to one form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sru_nn.arguments import check_features, check_shape
from sru_nn.positions import Positions, check_alone, check_cu_seqlens, check_ends, check_reset
from sru_nn.recurrent import without_padding


def checked(cell: Any, input: Any, c0: Any, where: Positions) -> tuple[Tensor, Positions]:
    """Check the arguments of a layer.

    Args:
        cell: The layer.
        input: `(T, B, E)`, or `(B, E)` for a single step; `(total, E)` or `(total, 1, E)` with `cu_seqlens`.
        c0: `(B, N·D)` or None.
        where: As passed to the layer.

    Returns:
        `input`: `(T, B, E)`, zero at padding.
        `where`: With a bool mask `(T, B)` and int64 offsets.

    Raises:
        ValueError: A shape, a device or the combination of arguments is wrong.
        TypeError: An argument is not a tensor, or `reset` or `cu_seqlens` has a wrong dtype.
    """
    who = type(cell).__name__
    if where.cu_seqlens is not None:
        return _checked_ragged(who, cell, input, c0, where)
    mask_pad, reset = where.mask_pad, where.reset
    check_features(who, "input", input, "(T, B, E) or (B, E)", (2, 3), cell.input_size)
    if input.dim() == 2:
        input = input.unsqueeze(0)
        if isinstance(mask_pad, Tensor) and mask_pad.dim() == 1:
            mask_pad = mask_pad.unsqueeze(0)
        if isinstance(reset, Tensor) and reset.dim() == 1:
            reset = reset.unsqueeze(0)
    if c0 is not None:
        check_shape(who, "c0", c0, "(B, N·D)", (input.shape[1], cell.output_size), like=input)
    shape = tuple(input.shape[:-1])
    if mask_pad is not None:
        check_shape(who, "mask_pad", mask_pad, "(T, B)", shape, like=input)
        mask_pad = mask_pad.bool()
    if reset is not None:
        check_reset(who, reset, "(T, B)", shape, input)
    return without_padding(input, mask_pad), Positions(mask_pad, reset)


def _checked_ragged(who: str, cell: Any, input: Any, c0: Any, where: Positions) -> tuple[Tensor, Positions]:
    check_alone(who, where.mask_pad, where.reset)
    columned = isinstance(input, Tensor) and input.dim() == 3 and input.shape[1] == 1
    name, letters = "with cu_seqlens input", "(total, E) or (total, 1, E)"
    check_features(who, name, input, letters, (3,) if columned else (2,), cell.input_size)
    input = input if columned else input.unsqueeze(1)
    check_cu_seqlens(who, where.cu_seqlens, input)
    check_ends(who, where.cu_seqlens, input.shape[0])
    where = Positions(cu_seqlens=where.cu_seqlens.to(torch.int64))  # type: ignore[union-attr]
    if c0 is not None:
        check_shape(who, "c0", c0, "(S, N·D)", (where.sequences(input), cell.output_size), like=input)
    return input, where
