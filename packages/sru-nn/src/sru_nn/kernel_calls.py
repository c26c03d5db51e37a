"""What a call of a kernel of `sru-kernels` takes: addresses, enum members, the device to run on."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor


def address(tensor: Tensor | None, held: list[Tensor]) -> int:
    """Return where a tensor lies, 0 for None; what had to be made contiguous for it stays in `held`."""
    if tensor is None:
        return 0
    if not tensor.is_contiguous():
        tensor = tensor.contiguous()
        held.append(tensor)
    return tensor.data_ptr()


@functools.cache
def storage_dtype(dtype: torch.dtype) -> Any:
    """Return the kernels' name of a dtype."""
    import sru_kernels

    return sru_kernels.DType[str(dtype).removeprefix("torch.")]


@functools.cache
def activation_member(name: str) -> Any:
    """Return the kernels' name of an activation."""
    import sru_kernels

    return sru_kernels.Activation[name]


def run_kernel(name: str, args: Any, device: torch.device) -> None:
    """Run a kernel on the threads of a CPU, or in the current stream of a CUDA device."""
    import sru_kernels

    if device.type == "cpu":
        getattr(sru_kernels.cpu, name)(args, num_threads=torch.get_num_threads())
        return
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream()
        kernel = getattr(sru_kernels.cuda, name)
        kernel(args, device=stream.device_index, stream=stream.cuda_stream)
