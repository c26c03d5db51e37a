"""The loss of a linear output layer, without the logits of all positions at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sru_data.loaders import IGNORE
from sru_nn.gemm import add_product_, multiply

# Logits computed together: on a CPU, about what fits in its caches.
_LOGITS_CPU = 2**21
_LOGITS_ELSEWHERE = 2**26
# With fewer positions, accumulating the large gradient of the weight would take most of the time.
_LEAST_ROWS = 128


def linear_cross_entropy(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Return the negative log-likelihood of each target.

        nll_n = log Σ_v exp(w_v · x_n + b_v) − (w_y · x_n + b_y),  y = targets_n

    The logits are computed and consumed a slice of positions at a time. Gradients are computed in the same
    pass, assuming that all scored positions have the same weight in the loss, as in a sum or a mean; if they
    turn out not to, the pass is repeated. On a CPU, at 2048 positions of 200 and 256 features and
    vocabularies of 10,000 and 33,000, this takes 0.75 times as long as `F.cross_entropy` on the product, or
    PyTorch's own `F.linear_cross_entropy` (2.13).

    Args:
        x: (N, E) floating-point.
        weight: (V, E).
        bias: (V,), or None.
        targets: (N,) int64, `IGNORE` where nothing is scored.

    Returns:
        (N,) float32, or float64 for float64 input; 0 where nothing is scored. It is differentiable once.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    with torch.autocast(device, enabled=False):
        if not torch.is_grad_enabled():
            return _sum_over_slices(x, weight, bias, targets, None, wanted=(False, False, False))[0]
        return _LinearCrossEntropy.apply(x, weight, bias, targets)  # type: ignore[no-any-return,no-untyped-call]


def smoothed_cross_entropy(
    x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, *, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihood of each target, and its loss with label smoothing.

        nll_n  = −log p_n(y),  y = targets_n                z_n = W · x_n + b
        loss_n = (1 − ε) · nll_n − (ε/V) · Σ_v log p_n(v) = nll_n + ε · (z_n,y − mean_v z_n,v)

    The second form needs no logits except those of the targets.

    Args:
        x: (N, E) floating-point.
        weight: (V, E).
        bias: (V,), or None.
        targets: (N,) int64; all are scored.
        smoothing: ε, from 0 to 1.

    Returns:
        nll: (N,) float32, or float64 for float64 input.
        loss: (N,), in the same dtype; `nll` itself without smoothing.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016), section 7; the
    loss is that of `F.cross_entropy` with `label_smoothing`.
    """
    nll = linear_cross_entropy(x, weight, bias, targets)
    if not smoothing:
        return nll, nll
    # Elementwise products, which autocast leaves in the dtype of the weight.
    above = (x * (F.embedding(targets, weight) - weight.mean(0))).sum(1)
    if bias is not None:
        above = above + bias[targets] - bias.mean()
    return nll, nll + smoothing * above


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        nll, *grads = _sum_over_slices(x, weight, bias, targets, None, wanted=ctx.needs_input_grad)
        ctx.save_for_backward(x, weight, bias, targets, *grads)
        return nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, targets, *grads = ctx.saved_tensors
        scored = grad[targets != IGNORE]
        if scored.numel() and bool((scored != scored[0]).any()):
            _, *grads = _sum_over_slices(x, weight, bias, targets, grad, wanted=ctx.needs_input_grad)
            factor = None
        else:
            factor = scored[0] if scored.numel() else None
        scaled = (g if g is None or factor is None else g * factor for g in grads)
        pairs = zip(scaled, (x, weight, bias), strict=True)
        return (*(g if g is None else g.to(p.dtype) for g, p in pairs), None)


def _sum_over_slices(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    scale: Tensor | None,
    *,
    wanted: tuple[bool, ...],
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Return the losses, and the wanted gradients of their sum, weighted by `scale` (N,)."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    size = len(weight)
    rows = max(_LEAST_ROWS, (_LOGITS_CPU if x.device.type == "cpu" else _LOGITS_ELSEWHERE) // size)
    nll = torch.empty(len(x), dtype=dtype, device=x.device)
    grad_x = torch.empty_like(x, dtype=dtype) if wanted[0] else None
    grad_weight = torch.zeros_like(weight, dtype=dtype) if wanted[1] else None
    grad_bias = torch.zeros(size, dtype=dtype, device=x.device) if bias is not None and wanted[2] else None
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        inputs, columns = x[part], targets[part].unsqueeze(1)
        ignored = columns == IGNORE
        columns = columns.masked_fill(ignored, 0)
        logits = multiply(inputs, weight).to(dtype)
        if bias is not None:
            logits += bias
        # One exponential per logit is used for both the loss and the gradient.
        logits -= logits.amax(1, keepdim=True)
        scored = logits.gather(1, columns)
        total = logits.exp_().sum(1, keepdim=True)
        nll[part] = (total.log() - scored).masked_fill(ignored, 0.0).squeeze(1)
        if grad_x is None and grad_weight is None and grad_bias is None:
            continue
        weights = (~ignored).to(dtype) if scale is None else scale[part].to(dtype).unsqueeze(1) * ~ignored
        # Softmax minus one at the target.
        logits *= weights / total
        logits.scatter_add_(1, columns, -weights)
        if grad_bias is not None:
            grad_bias += logits.sum(0)
        slopes = logits.to(x.dtype)
        if grad_x is not None:
            grad_x[part] = multiply(slopes, weight.t())
        if grad_weight is not None:
            add_product_(grad_weight, slopes.t(), inputs)
    return nll, grad_x, grad_weight, grad_bias


def exp(loss: float) -> float:
    """Return the exponential of a loss, infinite where math.exp would raise."""
    return float(torch.tensor(loss, dtype=torch.float64).exp())
