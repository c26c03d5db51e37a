from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from sru_data.loaders import IGNORE, Segment

# The token ids of every text equal their positions, so a pair (input, target) shows where it was read.
DTYPES = (torch.uint16, torch.int32, torch.int64)


def text(num_tokens: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.arange(num_tokens).to(dtype)


def scored(segments: Iterable[Segment]) -> Counter[int]:
    """How often each token is a target; also checks that each target follows its input."""
    found: Counter[int] = Counter()
    for inputs, targets, _ in segments:
        assert inputs.dtype == targets.dtype == torch.int64
        assert inputs.shape == targets.shape
        assert inputs.is_contiguous()
        assert targets.is_contiguous()
        counts = targets != IGNORE
        assert torch.equal(targets[counts], inputs[counts] + 1)
        found.update(targets[counts].tolist())
    return found


@pytest.fixture(scope="session")
def positions() -> Callable[..., Tensor]:
    return text


@pytest.fixture(scope="session")
def count_targets() -> Callable[[Iterable[Segment]], Counter[int]]:
    return scored
