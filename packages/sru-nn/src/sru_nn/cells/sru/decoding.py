"""One step of a stack of layers, for decoding.

A small batch needs tens of microseconds per step, and layers called one by one spend much of that on repeated
checks. Here the checks run once and each layer is a single kernel call, projection included. Parameters are
read from the modules' dictionaries because `nn.Module.__getattr__` costs as much as a small layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sru_nn import backend
from sru_nn.cells.sru import operator as ops
from sru_nn.cells.sru.layer import SRUCell
from sru_nn.dtypes import accumulate_dtype
from sru_nn.gemm import project
from sru_nn.operators import is_plain
from sru_nn.quantization import Int8Linear
from sru_nn.watched import is_watched

# The kernel multiplies one sequence after another. At D = 1024 a plain matrix product catches up at 16
# sequences in float32 and bfloat16, and earlier where PyTorch's is fast or the kernel has to convert. Smaller
# layers benefit beyond that, because fewer calls are needed.
_LARGEST_BATCH = {torch.float32: 16, torch.bfloat16: 16, torch.float64: 4, torch.float16: 1}
_PLAIN = (nn.Parameter, Tensor)


def can_step(cells: Sequence[SRUCell], x: Tensor, c0: Tensor | None) -> bool:
    """Return whether `step` computes the same results as calling these layers, only faster.

    Args:
        cells: The layers.
        x: `(T, B, E)`; a step has T = 1.
        c0: `(L, B, N·D)`, or None.
    """
    if not (
        is_plain(x, c0)  # first, because a graph must not depend on T
        and x.shape[0] == 1
        and not torch.is_grad_enabled()
        and x.is_cpu
        and x.shape[1] <= _LARGEST_BATCH.get(x.dtype, 0)
        and (
            cells[0].initial_state is None
            if c0 is None
            else c0.is_cpu and c0.dtype == accumulate_dtype(x.dtype) and c0.is_contiguous()
        )
        and not torch.is_autocast_enabled("cpu")
    ):
        return False
    inputs, width = x.shape[2], cells[0].output_size
    for cell in cells:  # not all(...), as in is_plain
        if not _is_simple(cell, x.dtype, inputs, width):
            return False
        inputs = width
    return backend.active("cpu") == "kernels"


def _is_simple(cell: SRUCell, dtype: torch.dtype, inputs: int, width: int) -> bool:
    """Return whether a layer has these sizes and is unmodified, so that all shapes are known."""
    return (
        type(cell) is SRUCell
        and (cell.input_size, cell.output_size, cell.custom_m) == (inputs, width, None)
        and not (cell.training and (cell.dropout > 0 or cell.rnn_dropout > 0))
        and not is_watched(cell)
        and _fits(_vector(cell, "weight_c"), dtype, (2 * width,))
        and _fits(_vector(cell, "bias"), dtype, (2 * width,))
        and type(cell.layer_norm) in (type(None), nn.LayerNorm)
        and _is_projection(cell._modules["transform"], dtype, cell)
    )


def _vector(cell: SRUCell, name: str) -> Any:
    """Return a parameter or a buffer of zeros; None if it has been parametrized."""
    return cell._parameters.get(name, cell._buffers.get(name))


def _is_projection(transform: Any, dtype: torch.dtype, cell: SRUCell) -> bool:
    outputs, inner = cell.num_matrices * cell.output_size, cell.projection_size
    if not inner:
        return _is_linear(transform, dtype, (outputs, cell.input_size))
    return (
        type(transform) is nn.Sequential
        and not is_watched(transform)
        and list(transform._modules) == ["down", "up"]
        and _is_linear(transform._modules["down"], dtype, (inner, cell.input_size))
        and _is_linear(transform._modules["up"], dtype, (outputs, inner))
    )


def _is_linear(module: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> bool:
    weight: Any = None
    if type(module) is nn.Linear:
        weight = module._parameters.get("weight")
    elif type(module) is Int8Linear and module.scale.is_cpu and module.scale.is_contiguous():
        weight, dtype = module._buffers.get("weight"), torch.int8
    return _fits(weight, dtype, shape) and module._parameters.get("bias") is None and not is_watched(module)


def _fits(tensor: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> bool:
    return (
        type(tensor) in _PLAIN  # false if it has been quantized
        and tensor.dtype == dtype
        and tensor.shape == shape
        and tensor.is_cpu
        and tensor.is_contiguous()
        # As in is_plain; the kernel rejects a parameter without memory.
        and not tensor.is_neg()
        and (type(tensor) is nn.Parameter or not tensor._is_zerotensor())
    )


def step(
    cells: Sequence[SRUCell],
    x: Tensor,
    c0: Tensor | None,
    after: Callable[[int, Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Run one step of all layers.

    Args:
        cells: The layers.
        x: `(1, B, E)`.
        c0: `(L, B, N·D)`; zeros if None.
        after: Maps the index of a layer and its output to the input of the next layer.

    Returns:
        `h`: `(1, B, N·D)`, the output of the last layer.
        `c`: `(L, B, N·D)`.
    """
    dtype = accumulate_dtype(x.dtype)
    c = x.new_empty(len(cells), x.shape[1], cells[0].output_size, dtype=dtype)
    x = x.contiguous()
    for layer, cell in enumerate(cells):
        v, bias = _vector(cell, "weight_c"), _vector(cell, "bias")
        if x.dtype != dtype:
            v, bias = v.to(dtype), bias.to(dtype)
        norm, linear = cell.layer_norm, cell._modules["transform"]
        highway = x if cell.has_skip_term and cell.num_matrices == 3 else None
        if norm is not None and not cell.normalize_after:
            x = norm(x)
        if cell.projection_size:
            down, linear = linear._modules.values()  # type: ignore[union-attr]
            x = project(down, x)  # type: ignore[arg-type]
        if type(linear) is Int8Linear:
            weight, scale = linear._buffers["weight"], linear._buffers["scale"].to(dtype)  # type: ignore[union-attr]
        else:
            weight, scale = linear._parameters["weight"], None  # type: ignore[union-attr]
        x = ops.sru_step(
            x.contiguous(),
            weight,  # type: ignore[arg-type]
            v,
            bias,
            c0,
            highway,
            c,
            layer,
            activation=cell.activation,
            scale_x=1.0 if highway is None else cell.scale_x,
            weight_scale=scale,
        )
        if norm is not None and cell.normalize_after:
            x = norm(x)
        if after is not None:
            x = after(layer, x)
    return x, c
