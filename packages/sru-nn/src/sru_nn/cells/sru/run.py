"""SRU layers run by their stack, each on the output of the previous one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from sru_nn.cells.sru.decoding import can_step, step
from sru_nn.cells.sru.layer import SRUCell
from sru_nn.operators import is_recorded
from sru_nn.positions import Positions
from sru_nn.stack import by_layer
from sru_nn.watched import is_altered


def run_layers(
    cells: Iterable[SRUCell],
    x: Tensor,
    c0: Tensor | None,
    where: Positions,
    after: Callable[[int, Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Run layers, each on the output of the previous one.

    Args:
        cells: The L layers.
        x: `(T, B, E)`, finite at padding.
        c0: `(L, B, N·D)`, the states before the first step; zeros if None.
        where: Which positions are real, and where sequences begin.
        after: Maps the index of a layer and its output to the input of the next layer.

    Returns:
        `h`: `(T, B, N·D)`, the output of the last layer.
        `c`: `(L, B, N·D)`, the states after the last step.
    """
    cells = list(cells)
    mask_pad, reset, cu_seqlens = where
    if mask_pad is reset is cu_seqlens is None and can_step(cells, x, c0):
        return step(cells, x, c0, after)

    last = []
    for layer, (cell, c) in enumerate(zip(cells, by_layer(c0, len(cells)), strict=True)):
        x, c = run_layer(cell, x, c, where)
        x = x if after is None else after(layer, x)
        last.append(c)
    return x, torch.stack(last)


def run_layer(
    cell: SRUCell, x: Tensor, c0: Tensor | None, where: Positions, *attention: Any
) -> tuple[Tensor, Tensor]:
    """Run a layer without the checks of a call, which its stack has already done.

    The layer is still called if it has hooks, or in a trace, which records the names of modules.

    Args:
        cell: The layer.
        x: `(T, B, E)`, finite at padding.
        c0: `(B, N·D)`, or None.
        where: Which positions are real, and where sequences begin.
        *attention: The additional arguments of an SRU++ layer.

    Returns:
        `h`: `(T, B, N·D)`.
        `c`: `(B, N·D)`.
    """
    if is_recorded() or is_altered(cell):
        return cell(x, c0, where.mask_pad, *attention, **where.options())  # type: ignore[no-any-return]
    return cell._run(x, c0, where, *attention)
