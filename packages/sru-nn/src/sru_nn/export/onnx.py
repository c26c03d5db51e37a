"""ONNX files."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from sru_nn.export._program import to_program
from sru_nn.quantization import Int4Linear

_DTYPES = (torch.float32, torch.float64, torch.float16)


def to_onnx(
    model: nn.Module,
    args: tuple[Any, ...],
    path: str | os.PathLike[str],
    *,
    dynamic_shapes: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int = 20,
) -> None:
    """Write a model as an ONNX file of the standard operators.

    With a dynamic time axis, or a fixed one of several steps, a layer is an ONNX `Scan`. With a single step,
    for streaming with the state as input and output, there is no loop in the file.

    Args:
        model: A module in evaluation mode, with our modules anywhere in it.
        args: Its example inputs.
        path: Where to write the file.
        dynamic_shapes: Which axes of which input may change, as for `torch.export.export`.
        input_names: Names of the inputs that are tensors.
        output_names: Names of the outputs.
        opset_version: Version of the ONNX operators, at least 18.

    Raises:
        ValueError: The model is in training mode, or the opset is too old.
        TypeError: `args` is not a tuple, or holds a `PackedSequence`, or ONNX has no operator for a dtype or
            for quantized weights.
        ImportError: The packages PyTorch needs to write ONNX are missing.
        RuntimeError: This torch has no loop for a dynamic time axis.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"to_onnx: writing ONNX needs {' and '.join(missing)}; pip install onnx onnxscript")
    if opset_version < 18:
        raise ValueError(f"to_onnx: opset_version must be at least 18, got {opset_version}")
    _check_not_quantized(model)
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype not in _DTYPES:
            raise TypeError(
                f"to_onnx: {name} is {parameter.dtype}, which ONNX Runtime cannot compute in; convert the "
                "model with .float() or .half()"
            )
    program = to_program("to_onnx", model, args, dynamic_shapes)
    torch.onnx.export(
        program,
        (),
        os.fspath(path),
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=input_names,
        output_names=output_names,
        opset_version=opset_version,
    )


def _check_not_quantized(model: nn.Module) -> None:
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, Int4Linear) or (
            isinstance(module, nn.Linear) and type(weight) not in (nn.Parameter, torch.Tensor)
        ):
            raise TypeError(
                f"to_onnx: {name} has quantized weights that ONNX has no operator for; export the model "
                "before quantizing it and use onnxruntime.quantization on the file, or use quantize_weights_ "
                "with bits=8"
            )
