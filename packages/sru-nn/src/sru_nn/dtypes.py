"""The dtypes of recurrences: one for storage, and one for the state and every sum."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

STORAGE_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def accumulate_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the state and of every sum: float64 for float64 storage, float32 for any other."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def in_accumulate_dtype(storage: torch.dtype, *tensors: Tensor | None) -> list[Any]:
    """Convert small tensors to the accumulation dtype, the only one kernels are compiled for."""
    dtype = accumulate_dtype(storage)
    return [x if x is None or x.dtype == dtype else x.to(dtype) for x in tensors]


def is_autocast(device: torch.device) -> bool:
    """Return whether autocast chooses the dtype of products on a device."""
    # The compiler of torch 2.6 cannot trace is_autocast_available.
    known = torch.compiler.is_compiling() or torch.amp.is_autocast_available(device.type)
    return device.type != "meta" and known and torch.is_autocast_enabled(device.type)


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return a context in which products on a device keep their dtype, regardless of autocast."""
    return torch.autocast(device.type, enabled=False) if is_autocast(device) else contextlib.nullcontext()
