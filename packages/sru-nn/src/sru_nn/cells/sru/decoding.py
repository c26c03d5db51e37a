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
from sru_nn.gemm import is_watched, project
from sru_nn.operators import is_plain
from sru_nn.quantization import Int8Linear

# The kernel multiplies one sequence after the other. At D = 1024 a plain matrix product catches up at 16
# sequences in float32 and bfloat16, and earlier where PyTorch's is good or the kernel has to convert. Smaller
# layers gain beyond that, because they save calls.
_LARGEST_BATCH = {torch.float32: 16, torch.bfloat16: 16, torch.float64: 4, torch.float16: 1}
_PLAIN = (nn.Parameter, Tensor)


def can_step(cells: Sequence[SRUCell], x: Tensor, c0: Tensor | None) -> bool:
    """Return whether `step` gives the results of calling these layers, only faster.

    Args:
        cells: The layers.
        x: `(1, B, E)`.
        c0: `(L, B, N·D)`, or None.
    """
    return (
        is_plain(x, c0)
        and not torch.is_grad_enabled()
        and x.is_cpu
        and x.shape[1] <= _LARGEST_BATCH.get(x.dtype, 0)
        and (c0 is None or (c0.is_cpu and c0.dtype == accumulate_dtype(x.dtype) and c0.is_contiguous()))
        and not torch.is_autocast_enabled("cpu")
        and _are_simple(cells, x)
        and backend.active("cpu") == "kernels"
    )


def _are_simple(cells: Sequence[SRUCell], x: Tensor) -> bool:
    inputs, width = x.shape[2], cells[0].output_size
    return all(
        _is_simple(cell, x.dtype)
        and cell.output_size == width
        and cell.input_size == (width if layer else inputs)
        for layer, cell in enumerate(cells)
    )


def _is_simple(cell: SRUCell, dtype: torch.dtype) -> bool:
    shape = (2 * cell.output_size,)
    return (
        type(cell) is SRUCell
        and _is_parameter(_vector(cell, "weight_c"), dtype, shape)
        and _is_parameter(_vector(cell, "bias"), dtype, shape)
        and cell.custom_m is None
        and not (cell.training and (cell.dropout > 0 or cell.rnn_dropout > 0))
        and not is_watched(cell)
        and _is_as_made(cell, dtype)
    )


def _vector(cell: SRUCell, name: str) -> Any:
    """Return a parameter or a buffer of zeros; None when it has been parametrized."""
    own = cell._parameters
    return own[name] if name in own else cell._buffers.get(name)


def _is_as_made(cell: SRUCell, dtype: torch.dtype) -> bool:
    """Return whether projection and norm are those the layer was built with, so that all shapes are known."""
    transform = cell._modules["transform"]
    outputs, inner = cell.num_matrices * cell.output_size, cell.projection_size
    if type(cell.layer_norm) not in (type(None), nn.LayerNorm):
        return False
    if not inner:
        return _is_linear(transform, dtype, (outputs, cell.input_size))
    return (
        type(transform) is nn.Sequential
        and not is_watched(transform)
        and list(transform._modules) == ["down", "up"]
        and _is_linear(transform._modules["down"], dtype, (inner, cell.input_size))
        and _is_linear(transform._modules["up"], dtype, (outputs, inner))
    )


def _is_linear(module: nn.Module | None, dtype: torch.dtype, shape: tuple[int, int]) -> bool:
    if module is None or is_watched(module) or module._parameters.get("bias") is not None:
        return False
    if type(module) is nn.Linear:
        return _is_parameter(module._parameters.get("weight"), dtype, shape)
    if type(module) is not Int8Linear:
        return False
    weight, scale = module._buffers.get("weight"), module._buffers.get("scale")
    return (
        type(weight) is type(scale) is Tensor
        and weight.shape == shape
        and weight.is_cpu
        and weight.is_contiguous()
        and weight.dtype == torch.int8
        and scale.is_cpu
        and scale.is_contiguous()
    )


def _is_parameter(parameter: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> bool:
    return (
        type(parameter) in _PLAIN  # not so when it has been quantized
        and parameter.dtype == dtype
        and parameter.shape == shape
        and parameter.is_cpu
        and parameter.is_contiguous()
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
        after: Maps the number of a layer and its output to the input of the next layer.

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
