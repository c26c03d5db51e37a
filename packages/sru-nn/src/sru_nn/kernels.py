"""Kernel calls: tensors are passed as addresses, along with a stream or a number of threads."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import torch
from torch import Tensor


def current_device(like: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which a tensor's device is the current one, on which Triton launches kernels."""
    if like.is_cpu:  # in Triton's interpreter
        return contextlib.nullcontext()
    return torch.get_device_module(like.device).device(like.device)  # type: ignore[no-any-return]


def run_kernel(name: str, like: Tensor, *fields: Any) -> None:
    """Run a kernel on the threads of a CPU, or in the current stream of a CUDA device.

    Args:
        name: The name of the kernel in `sru_kernels.cpu` and `sru_kernels.cuda`.
        like: A tensor on the device.
        *fields: The arguments, in order: tensors (None to omit one), a dtype, the name of an activation, and
            numbers, including addresses. Tensors that the kernel writes to are contiguous.
    """
    package, constants = kernels()
    held, values = [], []
    for field in fields:
        if field is None:  # most of them, usually
            values.append(0)
        elif isinstance(field, Tensor):
            if not field.is_contiguous():
                field = field.contiguous()
                held.append(field)  # the kernel only receives its address
            values.append(field.data_ptr())
        else:
            values.append(constants.get(field, field))
    arguments = getattr(package, name.title().replace("_", ""))._make(values)
    if like.is_cpu:
        getattr(package.cpu, name)(arguments, num_threads=torch.get_num_threads())
        return
    stream = torch.cuda.current_stream(like.device)  # the kernels make its device current themselves
    getattr(package.cuda, name)(arguments, device=stream.device_index, stream=stream.cuda_stream)


@functools.cache
def kernels() -> tuple[Any, dict[Any, Any]]:
    """Return the package, and its constants for dtypes and the names of activations."""
    import sru_kernels

    dtypes = {getattr(torch, name): member for name, member in sru_kernels.DType.__members__.items()}
    return sru_kernels, {**dtypes, **sru_kernels.Activation.__members__}
