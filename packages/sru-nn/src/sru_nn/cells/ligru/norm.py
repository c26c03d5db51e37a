"""Batch norm of the frames of sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sru_nn.dtypes import accumulate_dtype
from sru_nn.watched import refuse_script


class FrameNorm(nn.BatchNorm1d):
    """Batch norm over all real frames of a batch, ignoring padding.

    Args:
        num_features: The number of features.
        momentum: The weight of a batch in the running statistics.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float
    __prepare_scriptable__ = refuse_script

    def __init__(self, num_features: int, momentum: float = 0.05) -> None:
        super().__init__(num_features, momentum=momentum)

    def forward(self, input: Tensor, mask_pad: Tensor | None = None) -> Tensor:
        """Normalise `(frames, features)`; `mask_pad` `(frames,)` is True at padding."""
        if self.training:
            self.num_batches_tracked.add_(1)
            if mask_pad is not None:
                return self._normalize_real(input, mask_pad.unsqueeze(1))
        statistics, affine = (self.running_mean, self.running_var), (self.weight, self.bias)
        return F.batch_norm(input, *statistics, *affine, self.training, self.momentum, self.eps)

    def _normalize_real(self, input: Tensor, pad: Tensor) -> Tensor:
        """Normalise by the statistics of the real frames of this batch; no shape depends on their number."""
        count = (~pad).sum()
        x = input.to(accumulate_dtype(input.dtype)).masked_fill(pad, 0.0)
        mean = x.sum(0) / count
        centred = (x - mean).masked_fill(pad, 0.0)
        var = centred.square().sum(0) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            unbiased = var * (count / (count - 1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        scale = torch.rsqrt(var + self.eps) * self.weight
        return torch.addcmul(self.bias, centred, scale).to(input.dtype)
