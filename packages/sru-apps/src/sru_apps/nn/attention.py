"""Attention of one sequence, or of one vector, over another sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AlignedAttention(nn.Module):
    """For each position of one sequence, the mean of another one's vectors, weighted by how alike they are.

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
            y_mask: (J, B) bool, True at padding; None without any.

        Returns:
            (T, B, E).
        """
        ours, others = (torch.relu(self.projection(side)) for side in (x, y))
        scores = torch.bmm(ours.transpose(0, 1), others.permute(1, 2, 0))
        if y_mask is not None:
            scores = scores.masked_fill(y_mask.t().unsqueeze(1), -torch.inf)
        return torch.bmm(scores.softmax(-1).to(y.dtype), y.transpose(0, 1)).transpose(0, 1)


class BilinearAttention(nn.Module):
    """Scores of the positions of a sequence, given a vector: s_t = x_t · (W y + b).

    Args:
        x_size: O, the features of the sequence.
        y_size: Q, those of the vector.

    Source: Chen et al. (2017), section 3.2: the prediction of start and end.
    """

    def __init__(self, x_size: int, y_size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(y_size, x_size)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Score a batch.

        Args:
            x: (T, B, O).
            y: (B, Q).
            mask: (T, B) bool, True at padding; None without any.

        Returns:
            (B, T) logits, at least float32, -∞ at padding.
        """
        query = self.projection(y).to(x.dtype)
        scores = torch.bmm(x.transpose(0, 1), query.unsqueeze(-1)).squeeze(-1)
        if scores.dtype in (torch.float16, torch.bfloat16):
            scores = scores.float()
        return scores if mask is None else scores.masked_fill(mask.t(), -torch.inf)


def weighted_mean(weights: Tensor, x: Tensor) -> Tensor:
    """Return Σ_t w_t x_t.

    Args:
        weights: (B, T).
        x: (T, B, O).

    Returns:
        (B, O), in the dtype of `x`.
    """
    return torch.bmm(weights.to(x.dtype).unsqueeze(1), x.transpose(0, 1)).squeeze(1)
