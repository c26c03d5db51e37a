"""The matrix product of a projection, with the machine's fastest GEMM.

On x86, PyTorch multiplies float32 matrices with MKL, which is slow on processors not made by Intel. oneDNN,
which PyTorch also includes, is fast there except for products of few rows, which use the fastest of several
calls. The environment variable `SRU_NN_GEMM` selects this (`onednn`), plain `F.linear` (`torch`) or `auto`
(the default): `onednn` on x86-64 processors of other vendors if this PyTorch has MKL. The choice changes
results only within float32 rounding.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sru_nn.operators import define, is_plain
from sru_nn.watched import is_watched

VARIABLE = "SRU_NN_GEMM"


# Limits up to which another call is faster than oneDNN's for the whole product, according to
# `benchmarks/bench_floor.py`. A decoding step or a chunk of a stream has few rows.
_FEW_ROWS = 32
_VERY_FEW_ROWS = 4
_SMALL_WEIGHT = 1 << 20


def project(module: nn.Module, x: Tensor) -> Tensor:
    """Return `module(x)`.

    If oneDNN is selected, it computes float32 products on the CPU for an `nn.Linear` without a bias, or a
    sequence of them, provided that nothing watches the module. Any other module is called.
    """
    if not _chosen or (torch.compiler.is_compiling() and not _is_for_here()) or is_watched(module):
        return module(x)  # type: ignore[no-any-return]
    if type(module) is nn.Sequential:
        for part in module:
            x = project(part, x)
        return x
    has_bias = module._parameters.get("bias") is not None
    if type(module) is nn.Linear and not has_bias and _is_for_onednn(x, module.weight):
        return _apply(x, module.weight)
    return module(x)  # type: ignore[no-any-return]


def multiply(x: Tensor, weight: Tensor) -> Tensor:
    """Return x Wᵀ without a gradient, in any dtype."""
    if _chosen and _is_for_onednn(x, weight):
        return _multiply(x, weight)
    return nn.functional.linear(x, weight)


def add_product_(out: Tensor, a: Tensor, b: Tensor) -> None:
    """Add A B to a matrix, without a gradient.

    Args:
        out: (M, N), updated in place; float32 where `a` and `b` are in half precision.
        a: (M, K).
        b: (K, N).
    """
    if out.dtype != a.dtype or (_chosen and _is_for_onednn(a, b)):
        out += multiply(a, b.t())
    else:
        out.addmm_(a, b)


def weight_gradient(
    grad: Tensor, x: Tensor, product: Callable[[Tensor, Tensor], Tensor] = multiply
) -> Tensor:
    """Return the gradient of a weight `(outputs, inputs)`.

    Args:
        grad: `(rows, outputs)`, the gradients of the outputs.
        x: `(rows, inputs)`, the inputs.
        product: The product of two matrices; `multiply` has no gradient of its own.
    """
    left, right = grad.t(), x.t()
    # oneDNN copies the first matrix, which is transposed. Make that the smaller one, unless transposing the
    # result back to the weight's layout costs more.
    (outputs, rows), inputs = left.shape, len(right)
    if (outputs - inputs) * rows > outputs * inputs:
        return product(right, left).t()
    return product(left, right)


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.is_cpu
        and x.numel() > 0
        and x.dtype == weight.dtype == torch.float32
        and (torch.compiler.is_compiling() or is_plain(x, weight))
        and not torch.is_autocast_enabled("cpu")
    )


def _is_for_here() -> bool:
    """Return whether the graph being traced will run on this machine: it is compiled, not exported."""
    if not hasattr(torch.compiler, "is_exporting"):
        return False  # torch 2.6 cannot tell the two apart
    return torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting()


def _choose_onednn() -> bool:
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in ("auto", "onednn", "torch"):
        raise ValueError(f"the environment variable {VARIABLE} must be auto, onednn or torch, got {choice!r}")
    if choice == "auto":
        has_mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        return _has_onednn() and has_mkl and _is_x86_of_another_maker()
    if choice == "onednn" and not _has_onednn():
        raise RuntimeError(f"{VARIABLE}=onednn, but this PyTorch was built without oneDNN; unset it")
    return choice == "onednn"


def _has_onednn() -> bool:
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _is_x86_of_another_maker() -> bool:
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    try:
        return "GenuineIntel" not in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


# Read once, because a compiler can trace neither the environment nor a file.
_chosen = _choose_onednn()


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    grad_x = _apply(grad, weight.t()) if ctx.needs_input_grad[0] else None
    if not ctx.needs_input_grad[1]:
        return grad_x, None
    grad, x = (part.reshape(-1, part.shape[-1]) for part in (grad, x))
    return grad_x, weight_gradient(grad, x, _apply)


class _OneDNNLinear(torch.autograd.Function):
    """x Wᵀ with oneDNN, forward and backward; differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight)

    backward = staticmethod(_differentiate)


def _apply(x: Tensor, weight: Tensor) -> Tensor:
    if not is_plain(x, weight):
        return torch.ops.sru_nn.onednn_linear(x, weight)  # type: ignore[no-any-return]
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _OneDNNLinear.apply(x, weight)  # type: ignore[no-any-return,no-untyped-call]
    return _multiply(x, weight)


def _multiply(x: Tensor, weight: Tensor) -> Tensor:
    rows = x.numel() // max(x.shape[-1], 1)
    is_small = weight.numel() <= _SMALL_WEIGHT
    if rows > _FEW_ROWS or not weight.is_contiguous() or (rows == 1 and not is_small):
        return _onednn(x, weight)
    if rows <= _VERY_FEW_ROWS and is_small:
        return nn.functional.linear(x, weight)
    # oneDNN copies its second matrix before it multiplies, so make that the input, not the weight.
    flat = x.reshape(rows, -1)
    product = torch.mm(weight, flat.t()) if rows <= _VERY_FEW_ROWS else _onednn(weight, flat)
    return product.t().contiguous().view(*x.shape[:-1], -1)


def _onednn(x: Tensor, weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")  # type: ignore[no-any-return]


# For compiled graphs: the compiler uses oneDNN's own operator only for constant weights.
define(
    "onednn_linear",
    "(Tensor x, Tensor weight) -> Tensor",
    _multiply,
    lambda x, weight: x.new_empty(*x.shape[:-1], weight.shape[0]),
    _differentiate,
    lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    device="cpu",
    count_flops=lambda x, weight: 2 * x.numel() * weight.shape[0],
)
