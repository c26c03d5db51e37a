"""One step of a stack of layers, for decoding.

A step of a small batch takes some hundred microseconds, of which each layer would spend a good part on
asking again what was asked of the one before. Here everything is asked once, and the kernels are called for
one layer after the other. Parameters are taken from their dictionary: `nn.Module.__getattr__`, which they go
through otherwise, costs as much as the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

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
        and x.is_cpu
        and x.dtype in (torch.float32, torch.float64)
        and (c0 is None or (c0.is_cpu and c0.dtype == x.dtype and c0.is_contiguous()))
        and not torch.is_autocast_enabled("cpu")
        and all(_is_simple(cell, x.dtype) for cell in cells)
        and backend.active("cpu") == "kernels"
    )


def _is_simple(cell: SRUCell, dtype: torch.dtype) -> bool:
    v, bias = cell._parameters.get("weight_c"), cell._parameters.get("bias")
    return (
        type(cell) is SRUCell
        and type(v) is type(bias) is nn.Parameter  # not so when somebody has parametrized one
        and v.is_cpu
        and bias.is_cpu
        and v.dtype == bias.dtype == dtype
        and v.numel() == bias.numel() == 2 * cell.output_size
        and cell.custom_m is None
        and not (cell.training and (cell.dropout > 0 or cell.rnn_dropout > 0))
        and not is_hooked(cell)
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
    c = x.new_empty(len(cells), x.shape[1], cells[0].output_size)
    x = x.contiguous()
    for layer, cell in enumerate(cells):
        parameters, norm, transform = cell._parameters, cell.layer_norm, cell._modules["transform"]
        assert transform is not None  # custom_m is None
        u = project(transform, x if norm is None or cell.normalize_after else norm(x))
        highway = cell.has_skip_term and cell.num_matrices == 3
        x = ops.sru_step(
            u.to(x.dtype).contiguous(),
            parameters["weight_c"],  # type: ignore[arg-type]
            parameters["bias"],  # type: ignore[arg-type]
            c0,
            x if highway else None,
            c,
            layer,
            bidirectional=cell.bidirectional,
            activation=cell.activation,
            scale_x=cell.scale_x if highway else 1.0,
        )
        if norm is not None and cell.normalize_after:
            x = norm(x)
    return x, c
