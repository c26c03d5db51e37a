"""The projection of an SRU layer: one matrix, or the product of two."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

# The number of elements up to which PyTorch uses one thread.
_SERIAL = 32768


def make_transform(inputs: int, outputs: int, inner: int) -> nn.Module:
    """Return an `nn.Linear`, or two in sequence if `inner` is not 0, all without biases."""
    if inner == 0:
        return nn.Linear(inputs, outputs, bias=False)
    down, up = nn.Linear(inputs, inner, bias=False), nn.Linear(inner, outputs, bias=False)
    return nn.Sequential(OrderedDict(down=down, up=up))


def draw_transform(transform: nn.Module, num_matrices: int) -> Tensor:
    """Draw the weights so that each matrix keeps the variance of its input.

    Returns:
        A view `(K, N·D, ·)` of the last matrix, gate by gate.
    """
    linears = [module for module in transform.modules() if isinstance(module, nn.Linear)]
    for linear in linears:
        bound = math.sqrt(3 / linear.in_features)
        linear.weight.uniform_(-bound, bound)
    last = linears[-1].weight
    return last.view(num_matrices, last.shape[0] // num_matrices, -1)


def in_gates(cell: Any, result: Any, v: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Convert u or (u, v), as a custom module returned it for `x`, from gates innermost to gates outermost.

    Returns:
        `u`: `(T, B, K, N·D)`.
        `v`: `(2, N·D)`, the layer's own, or `(T, B, 2, N·D)` with the module's v added to it.
    """
    u, *rest = result if isinstance(result, (tuple, list)) else (result,)
    if len(rest) > 1:
        raise ValueError(
            f"{type(cell).__name__}: custom_m must return u or (u, v), got {1 + len(rest)} values"
        )
    if rest:
        # As in sru 2.6.0, the parameter is added while v still has its gates innermost.
        v = gate_major(cell, "v", rest[0] + cell.weight_c, x, 2)
    return gate_major(cell, "u", u, x, cell.num_matrices), v


def gate_major(cell: Any, name: str, tensor: Tensor, x: Tensor, gates: int) -> Tensor:
    """Convert the output of a custom module from gates innermost to `(T, B, K, N·D)`."""
    length, batch, _ = x.shape
    if tensor.numel() != length * batch * gates * cell.output_size:
        raise ValueError(
            f"{type(cell).__name__}: custom_m must return {name} of shape (T, B, N·D·{gates}) = "
            f"{(length, batch, cell.output_size * gates)}, got {tuple(tensor.shape)}"
        )
    return tensor.reshape(length, batch, cell.output_size, gates).transpose(2, 3)


def scale_(weight: Tensor, factor: float) -> None:
    """Multiply a contiguous weight in place, in parts small enough that PyTorch starts no threads.

    If building a model started threads, a forked child that uses the model would wait for them forever.
    """
    if factor != 1 and not weight.is_meta:
        for part in weight.view(-1).split(_SERIAL):  # type: ignore[no-untyped-call]
            part *= factor
