"""One step of a stack of layers, for decoding.

A step of a small batch takes some hundred microseconds, of which each layer would spend a good part on
asking again what was asked of the one before. Here everything is asked once, and the kernels are called for
one layer after the other. Parameters are taken from their dictionary: `nn.Module.__getattr__`, which they go
through otherwise, costs as much as the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sru_nn import backend
from sru_nn.eager import is_plain
from sru_nn.linear import is_hooked, project
from sru_nn.modules.sru_cell import SRUCell
from sru_nn.ops import sru as ops


def can_step(cells: Sequence[SRUCell], x: Tensor, c0: Tensor | None) -> bool:
    """Return whether `step` does for these layers what they do by themselves.

    Args:
        cells: The layers.
        x: `(1, B, E)`.
        c0: `(L, B, N·D)`, or None.
    """
    return (
        is_plain(x, c0)
        and not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and (c0 is None or (c0.dtype == x.dtype and c0.device == x.device))
        and not torch.is_autocast_enabled("cpu")
        and all(_is_simple(cell, x) for cell in cells)
        and backend.active(x.device) == "kernels"
    )


def _is_simple(cell: SRUCell, x: Tensor) -> bool:
    v, bias = cell._parameters.get("weight_c"), cell._parameters.get("bias")
    return (
        type(cell) is SRUCell
        and v is not None  # as it is when somebody has parametrized it
        and bias is not None
        and cell.custom_m is None
        and not (cell.training and (cell.dropout > 0 or cell.rnn_dropout > 0))
        and not is_hooked(cell)
        and is_plain(v, bias)
        and v.dtype == bias.dtype == x.dtype
        and v.device == bias.device == x.device
    )


def step(cells: Sequence[SRUCell], x: Tensor, c0: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run one step of all layers.

    Args:
        cells: The layers.
        x: `(1, B, E)`.
        c0: `(L, B, N·D)`; zeros if None.

    Returns:
        `h`: `(1, B, N·D)`, the output of the last layer.
        `c`: `(L, B, N·D)`.
    """
    batch, columns = x.shape[1], cells[0].output_size
    c = x.new_empty(len(cells), batch, columns)
    before = [None] * len(cells) if c0 is None else c0.unbind(0)
    for cell, c_before, c_after in zip(cells, before, c.unbind(0), strict=True):
        parameters, norm, transform = cell._parameters, cell.layer_norm, cell._modules["transform"]
        assert transform is not None  # custom_m is None
        u = project(transform, x if norm is None or cell.normalize_after else norm(x))
        highway = x if cell.has_skip_term and cell.num_matrices == 3 else None
        inputs = ops.Inputs(
            u.view(1, batch, cell.num_matrices, columns),
            parameters["weight_c"],  # type: ignore[arg-type]
            parameters["bias"],  # type: ignore[arg-type]
            c_before,
            highway,
            None,
            None,
            cell.bidirectional,
            cell.activation,
            1.0 if highway is None else cell.scale_x,
        )
        x, _ = ops.run_forward(inputs, c_last=c_after)
        if norm is not None and cell.normalize_after:
            x = norm(x)
    return x, c
