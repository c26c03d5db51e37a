"""The projection of an SRU layer: one matrix, or the product of two."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn


def make_transform(inputs: int, outputs: int, inner: int) -> nn.Module:
    """Return an `nn.Linear`, or two with an inner width that is not 0, all without biases."""
    if inner == 0:
        return nn.Linear(inputs, outputs, bias=False)
    down, up = nn.Linear(inputs, inner, bias=False), nn.Linear(inner, outputs, bias=False)
    return nn.Sequential(OrderedDict(down=down, up=up))


def draw_transform(transform: nn.Module, factors: Sequence[float]) -> None:
    """Draw the weights so that each matrix keeps the variance of its input, times the factor of each gate.

    Nothing is scaled afterwards: that would start PyTorch's threads, without which a forked child hangs.
    """
    *first, last = [module.weight for module in transform.modules() if isinstance(module, nn.Linear)]
    for weight in first:
        bound = math.sqrt(3 / weight.shape[1])
        weight.uniform_(-bound, bound)
    for gate, factor in zip(last.chunk(len(factors)), factors, strict=True):
        bound = factor * math.sqrt(3 / last.shape[1])
        gate.uniform_(-bound, bound)
