"""AOTInductor packages."""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from sru_nn.export._program import to_program


def to_aoti(
    model: nn.Module, args: tuple[Any, ...], path: str | os.PathLike[str], *, dynamic_shapes: Any = None
) -> str:
    """Compile a model into an AOTInductor package, which needs neither `sru_nn` nor Python to run.

    `torch._inductor.aoti_load_package` loads it, and so does libtorch's `AOTIModelPackageLoader`. It runs on
    the type of device the model is on. The time axis may be dynamic from torch 2.13 on.

    Args:
        model: A module in evaluation mode, with our modules anywhere in it.
        args: Its example inputs.
        path: Where to write the package; the name ends in `.pt2`.
        dynamic_shapes: Which axes of which input may change, as for `torch.export.export`.

    Returns:
        The path of the package.

    Raises:
        ValueError: The model is in training mode, or the path does not end in `.pt2`.
        TypeError: `args` is not a tuple, or holds a `PackedSequence`.
        RuntimeError: This torch has no loop for a dynamic time axis.
    """
    from torch._inductor import aoti_compile_and_package

    if not os.fspath(path).endswith(".pt2"):
        raise ValueError(f"to_aoti: the path of a package must end in .pt2, got {os.fspath(path)!r}")
    program = to_program("to_aoti", model, args, dynamic_shapes)
    # The C++ that torch 2.13 and 2.14 generate for a loop does not compile if they reuse its results' memory.
    configs = {"inplace_buffers": False}
    return aoti_compile_and_package(program, package_path=os.fspath(path), inductor_configs=configs)
