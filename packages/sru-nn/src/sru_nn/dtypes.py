"""The dtypes of recurrences: one for storage, one for the state and every sum."""

from __future__ import annotations

import torch

STORAGE_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def accumulate_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the state and of every sum: float64 for float64 storage, float32 for any other."""
    return torch.float64 if dtype == torch.float64 else torch.float32
