"""Attention of one sequence, or of one vector, over another sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class AlignedAttention(nn.Module):
    """For each position of one sequence, a mean of the vectors of another, weighted by similarity.

        o_t = Σ_j a_tj y_j        a_t = softmax_j(relu(W x_t + b) · relu(W y_j + b))

    Args:
        size: E, the features of both sequences.

    Source: Chen et al., "Reading Wikipedia to Answer Open-Domain Questions" (2017), section 3.2: the aligned
    question embedding.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(size, size)

    def forward(self, x: Tensor, y: Tensor, y_mask: Tensor | None = None) -> Tensor:
        """Align a batch.

        Args:
            x: (T, B, E).
            y: (J, B, E).
            y_mask: (J, B) bool, True at padding; None without padding.

        Returns:
            (T, B, E).
        """
        ours, others = (torch.relu(self.projection(side)) for side in (x, y))
        scores = torch.bmm(ours.transpose(0, 1), others.permute(1, 2, 0))
        if y_mask is not None:
            scores = scores.masked_fill(y_mask.t().unsqueeze(1), -torch.inf)
        return torch.bmm(scores.softmax(-1).to(y.dtype), y.transpose(0, 1)).transpose(0, 1)


class BilinearAttention(nn.Module):
    """Scores of the positions of a sequence, given a vector: s_t = x_t · (m ⊙ (W y + b)).

    Variational dropout keeps the same features at all positions of the sequence, so its mask can be passed
    as m, which is equivalent and much cheaper.

    Args:
        x_size: O, the features of the sequence.
        y_size: Q, the features of the vector.

    Source: Chen et al. (2017), section 3.2: the prediction of start and end.
    """

    def __init__(self, x_size: int, y_size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(y_size, x_size)

    def forward(
        self, x: Sequence[Tensor], y: Tensor, mask: Tensor | None = None, kept: Tensor | None = None
    ) -> Tensor:
        """Score a batch.

        Args:
            x: The features of the sequence in parts, (T, B, ·), together (T, B, O).
            y: (B, Q).
            mask: (T, B) bool, True at padding; None without padding.
            kept: m, (B, O); None for ones.

        Returns:
            (B, T) logits, at least float32, -∞ at padding.
        """
        query = self.projection(y)
        query = query if kept is None else query * kept
        queries = query.split([part.shape[-1] for part in x], -1)
        scores: Tensor = sum(map(_Dots.apply, x, queries))
        return scores if mask is None else scores.masked_fill(mask.t(), -torch.inf)


class _Dots(torch.autograd.Function):
    """s_bt = x_tb · y_b, by products that are fast on a CPU; autograd's take ten times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        y = y.to(x.dtype)
        ctx.save_for_backward(x, y)
        # Half-precision logits would lose the differences between similar spans.
        with torch.autocast(x.device.type, enabled=False):
            scores = torch.bmm(y.unsqueeze(1), x.permute(1, 2, 0)).squeeze(1)
        return scores.to(torch.promote_types(x.dtype, torch.float32))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, y = ctx.saved_tensors
        gradient = gradient.to(x.dtype)
        of_y = torch.bmm(gradient.unsqueeze(1), x.transpose(0, 1)).squeeze(1)
        return gradient.t().contiguous().unsqueeze(-1) * y, of_y


def weighted_mean(weights: Tensor, x: Sequence[Tensor]) -> Tensor:
    """Return Σ_t w_t x_t.

    Args:
        weights: (B, T).
        x: Parts of the features, (T, B, ·), together (T, B, O).

    Returns:
        (B, O).
    """
    rows = weights.unsqueeze(1)
    means = [torch.bmm(rows.to(part.dtype), part.transpose(0, 1)) for part in x]
    return torch.cat(means, -1).squeeze(1)
