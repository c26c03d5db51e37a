"""Weights in 8 or 4 bits, for decoding on the CPU.

A decoding step of one sequence spends nearly all its time reading the weights of the projections, so smaller
weights make it faster. `quantize_weights_` stores the weights in 8 or 4 bits and changes nothing else; the
kernels of `sru-kernels` multiply 8-bit weights by float32 as they read them. For int8 arithmetic over whole
sequences use `torchao.quantization.quantize_` with its `Int8DynamicActivationInt8WeightConfig`, which finds
the projections itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sru_nn.arguments import check_alike, check_module, check_sizes, check_tensor
from sru_nn.operators import is_recorded

# PyTorch's quantized products process one row after another. From about this many rows on, it is as fast to
# convert the weights back to floating point and multiply.
_MOST_ROWS = 16


class QuantizedLinear(nn.Module):
    """A linear map with weights stored in few bits; subclasses define how.

    Args:
        linear: The map to quantize.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        if not isinstance(linear, nn.Linear):
            raise TypeError(
                f"{type(self).__name__}: linear must be an nn.Linear, got a {type(linear).__name__}"
            )
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias

    def _check(self, input: Tensor, weight: Tensor) -> None:
        check_tensor(type(self).__name__, "input", input)
        check_alike(type(self).__name__, "input", input, "the weights", weight, dtypes=(input.dtype,))

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Int8Linear(QuantizedLinear):
    """A linear map y = (W₈ x) ⊙ s + b with 8-bit weights and one scale per output.

    A decoding step of an `SRU` multiplies in float32, in the kernel that does the whole step. Called on its
    own on the CPU, the module multiplies few rows in bfloat16, with sums in float32. For more rows, and on
    other devices, it multiplies in the dtype of the input.

    Args:
        linear: The map to quantize.

    Attributes:
        weight: `(outputs, inputs)`, int8.
        scale: `(outputs,)`.
        bias: `(outputs,)`, or None.

    Source: round to nearest; Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018, without the zero points.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        weight = linear.weight.detach()
        scale = weight.abs().amax(1).clamp(min=1e-12) / 127
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def dequantized(self) -> Tensor:
        """Return the weight `(outputs, inputs)` in the dtype of the scale."""
        return self.weight * self.scale[:, None]

    def forward(self, input: Tensor) -> Tensor:
        """Map `(..., inputs)` to `(..., outputs)`."""
        self._check(input, self.weight)
        # PyTorch's product reads 16 inputs at a time, even beyond the end of the weight.
        if self.in_features % 16 or not _is_decoding(input):
            return _plus(F.linear(input, self.weight.to(input.dtype)) * self.scale, self.bias).to(input.dtype)
        rows = input.reshape(-1, self.in_features).to(torch.bfloat16)
        output = torch._weight_int8pack_mm(rows, self.weight, self.scale.to(torch.bfloat16))
        return _plus(output.view(*input.shape[:-1], self.out_features).to(input.dtype), self.bias)


class Int4Linear(QuantizedLinear):
    """A linear map with 4-bit weights, W = (W₄ − 8) s + z, with one s and z per group of inputs.

    It is computed in bfloat16 with sums in float32, on the CPU.

    Args:
        linear: The map to quantize. It must have a multiple of 16 outputs and of `group_size` inputs.
        group_size: The number of inputs that share a scale: 32, 64, 128 or 256.

    Attributes:
        packed: The weights, in the order that PyTorch's product needs.
        scales: `(inputs / group_size, outputs, 2)`, s and z, bfloat16.
        bias: `(outputs,)`, or None.

    Raises:
        ValueError: The sizes do not fit.
    """

    packed: Tensor
    scales: Tensor

    def __init__(self, linear: nn.Linear, group_size: int = 32) -> None:
        super().__init__(linear)
        (self.group_size,) = check_sizes("Int4Linear", group_size=group_size)
        if group_size not in (32, 64, 128, 256):
            raise ValueError(f"Int4Linear: group_size must be 32, 64, 128 or 256, got {group_size}")
        if self.in_features % group_size or self.out_features % 16:
            raise ValueError(
                f"Int4Linear: linear must have a multiple of group_size = {group_size} inputs and of 16 "
                f"outputs, got {self.in_features} and {self.out_features}; quantize it with bits=8"
            )
        groups = linear.weight.detach().float().view(self.out_features, -1, group_size)
        low, high = groups.amin(-1), groups.amax(-1)
        step = ((high - low) / 15).clamp(min=1e-12)
        levels = ((groups - low[..., None]) / step[..., None]).round().clamp(0, 15).flatten(1)
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels.to(torch.int32), 1)
        scales = torch.stack([step, low + 8 * step], -1).transpose(0, 1)
        self.register_buffer("packed", packed)
        self.register_buffer("scales", scales.to(torch.bfloat16).contiguous())

    def forward(self, input: Tensor) -> Tensor:
        """Map `(..., inputs)` to `(..., outputs)`."""
        self._check(input, self.packed)
        rows = input.reshape(-1, self.in_features).to(torch.bfloat16)
        scales = self.scales.to(torch.bfloat16)
        output = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.packed, self.group_size, scales)
        return _plus(output.view(*input.shape[:-1], self.out_features).to(input.dtype), self.bias)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{super().extra_repr()}, group_size={self.group_size}"


def _is_decoding(input: Tensor) -> bool:
    if is_recorded():
        return False  # a graph must work for any number of rows
    return input.device.type == "cpu" and 0 < input.numel() <= _MOST_ROWS * input.shape[-1]


def _plus(output: Tensor, bias: Tensor | None) -> Tensor:
    return output if bias is None else output + bias


def quantize_weights_(
    model: nn.Module,
    *,
    bits: Literal[4, 8] = 8,
    group_size: int = 32,
    filter_fn: Callable[[nn.Module, str], bool] | None = None,
) -> None:
    """Replace the linear maps of a model, in place, with quantized ones.

    The model can no longer be trained, and its state dict is that of the quantized maps. To load such a state
    dict, quantize a new model first.

    Args:
        model: A module that contains `nn.Linear` modules, such as the projections of an `SRU`.
        bits: 8, or 4 for half the memory and a larger error.
        group_size: With 4 bits, the number of inputs that share a scale.
        filter_fn: Takes a module and its name in the model, and returns whether to replace it; None for
            every `nn.Linear` whose weight is an ordinary parameter.

    Raises:
        ValueError: `bits` is neither 4 nor 8, there is nothing to replace, or sizes do not fit 4 bits.
        TypeError: An argument has the wrong type.
    """
    check_module("quantize_weights_", model)
    check_sizes("quantize_weights_", bits=bits)
    if bits not in (4, 8):
        raise ValueError(f"quantize_weights_: bits must be 4 or 8, got {bits!r}")
    if filter_fn is not None and not callable(filter_fn):
        raise TypeError(
            f"quantize_weights_: filter_fn must be callable or None, got a {type(filter_fn).__name__}"
        )
    found = [
        (name, module)
        for name, module in model.named_modules()
        if type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and (filter_fn is None or filter_fn(module, name))
    ]
    if not found or found[0][1] is model:
        raise ValueError(
            f"quantize_weights_: {type(model).__name__} holds no nn.Linear to replace"
            + (", or filter_fn refuses them all" if filter_fn else "")
        )
    quantized = [Int8Linear(module) if bits == 8 else Int4Linear(module, group_size) for _, module in found]
    for (name, _), module in zip(found, quantized, strict=True):
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module)
