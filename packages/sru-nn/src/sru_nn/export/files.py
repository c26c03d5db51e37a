"""Files that run without `sru_nn`: AOTInductor packages and ONNX."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from reprlib import repr as short
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from sru_nn.arguments import check_module, check_path, check_sizes
from sru_nn.export.operators import inference_table
from sru_nn.quantization import Int4Linear

_DTYPES = (torch.float32, torch.float64, torch.float16)


def to_aoti(
    model: nn.Module, args: tuple[Any, ...], path: str | os.PathLike[str], *, dynamic_shapes: Any = None
) -> str:
    """Compile a model into an AOTInductor package, which needs neither `sru_nn` nor Python to run.

    Load it with `torch._inductor.aoti_load_package` or libtorch's `AOTIModelPackageLoader`. It runs on the
    type of device the model is on. The time axis may be dynamic from torch 2.13 on.

    Args:
        model: A module in evaluation mode that contains modules of this package.
        args: Example inputs.
        path: Where to write the package; the name ends in `.pt2`.
        dynamic_shapes: The dynamic axes of each input, as for `torch.export.export`.

    Returns:
        The path of the package.

    Raises:
        ValueError: The model is in training mode, or the path does not end in `.pt2`.
        TypeError: `args` is not a tuple, or holds a `PackedSequence`.
        RuntimeError: This version of torch cannot export a dynamic time axis.
    """
    from torch._inductor import aoti_compile_and_package

    path = check_path("to_aoti", path)
    if not path.endswith(".pt2"):
        raise ValueError(f"to_aoti: the path of a package must end in .pt2, got {path!r}")
    program = _to_program("to_aoti", model, args, dynamic_shapes)
    # The C++ that torch 2.13 and 2.14 generate for a loop does not compile if they reuse its outputs' memory.
    configs = {"inplace_buffers": False}
    return aoti_compile_and_package(program, package_path=path, inductor_configs=configs)


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
    """Write a model as an ONNX file with only standard operators.

    With a dynamic time axis, or a fixed one of several steps, a layer is an ONNX `Scan`. With a single step,
    for streaming with the state as input and output, there is no loop in the file.

    Args:
        model: A module in evaluation mode that contains modules of this package.
        args: Example inputs.
        path: Where to write the file.
        dynamic_shapes: The dynamic axes of each input, as for `torch.export.export`.
        input_names: Names of the inputs that are tensors.
        output_names: Names of the outputs.
        opset_version: Version of the ONNX operators, at least 18.

    Raises:
        ValueError: The model is in training mode, or the opset is too old.
        TypeError: `args` is not a tuple, or holds a `PackedSequence`, or ONNX has no operator for a dtype or
            for quantized weights.
        ImportError: The packages PyTorch needs to write ONNX are missing.
        RuntimeError: This version of torch cannot export a dynamic time axis.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"to_onnx: writing ONNX needs {' and '.join(missing)}; pip install onnx onnxscript")
    path = check_path("to_onnx", path)
    check_sizes("to_onnx", at_least=18, opset_version=opset_version)
    for which, names in (("input_names", input_names), ("output_names", output_names)):
        if not (names is None or (isinstance(names, (list, tuple)) and all(type(n) is str for n in names))):
            raise TypeError(f"to_onnx: {which} must be a list of str or None, got {short(names)}")
    check_module("to_onnx", model)
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
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype not in _DTYPES:
            raise TypeError(
                f"to_onnx: {name} is {parameter.dtype}, which ONNX Runtime cannot compute in; convert the "
                "model with .float() or .half()"
            )
    with torch.no_grad():  # produces the same file, with less to trace
        torch.onnx.export(
            _to_program("to_onnx", model, args, dynamic_shapes),
            (),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=input_names,
            output_names=output_names,
            opset_version=opset_version,
        )


@torch.no_grad()
def _to_program(who: str, model: nn.Module, args: tuple[Any, ...], dynamic_shapes: Any) -> ExportedProgram:
    """Export a model for inference and replace its operators; `who` names the caller in errors."""
    _check(who, model, args)
    if not isinstance(dynamic_shapes, (dict, tuple, list, type(None))):
        kind = type(dynamic_shapes).__name__
        raise TypeError(f"{who}: dynamic_shapes must be a dict, tuple or list, or None, got a {kind}")
    try:
        program = torch.export.export(model, args, dynamic_shapes=dynamic_shapes, strict=False)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        modules = dict(model.named_modules())
        if custom := [name for name, part in modules.items() if getattr(part, "custom_m", None) is not None]:
            raise ValueError(
                f"{who}: the model cannot be exported with its custom_m (in {', '.join(custom)}), because "
                f"{reason}; write a custom_m whose operations do not depend on the "
                "values of its input, or build the module without custom_m"
            ) from error
        if theirs := [name for name, part in modules.items() if type(part) in (nn.LSTM, nn.GRU, nn.RNN)]:
            raise ValueError(
                f"{who}: the model cannot be exported with PyTorch's own recurrent module (in "
                f"{', '.join(theirs)}), because {reason}; PyTorch unrolls its steps, so leave the time axis "
                "out of dynamic_shapes and pass no mask, or choose a module of sru_nn"
            ) from error
        raise
    return program.run_decompositions(inference_table(who))  # type: ignore[no-any-return]


def _check(who: str, model: Any, args: Any) -> None:
    check_module(who, model)
    if not isinstance(args, tuple):
        raise TypeError(
            f"{who}: args must be a tuple, got {type(args).__name__}; write (x,) for a single tensor"
        )
    if model.training:
        raise ValueError(
            f"{who}: the model is in training mode, where dropout is random; call model.eval() first"
        )
    for name, module in model.named_modules():
        if getattr(module, "length_parallel", False):
            raise ValueError(
                f"{who}: {name or 'the model'} solves for all steps at once until it converges, which a "
                "graph cannot express; set length_parallel=False, which gives the same results"
            )
    if PackedSequence in map(type, pytree.tree_leaves(args, is_leaf=lambda x: isinstance(x, PackedSequence))):
        raise TypeError(
            f"{who}: a PackedSequence needs sru_nn where the file runs; pass a padded tensor and mask_pad"
        )
