"""From the outputs at all positions of a sequence to one vector."""

from __future__ import annotations

import torch
from torch import Tensor


def pool(h: Tensor, mask: Tensor | None = None) -> Tensor:
    """Summarise each sequence by the maximum and the mean over its real positions.

    Args:
        h: (T, B, O) outputs, zero at padding.
        mask: (T, B) bool, True where there is padding; at least one position of each sequence is real. None
            where there is no padding.

    Returns:
        (B, 2·O), the maxima and then the means.
    """
    candidates, lengths = h.detach(), torch.tensor(h.shape[0])
    if mask is not None:
        candidates = candidates.masked_fill(mask.unsqueeze(-1), -torch.inf)
        lengths = (~mask).sum(0).unsqueeze(-1)
    # Gathered, so that the gradient is written to these places alone and not compared and masked everywhere.
    largest = h.gather(0, candidates.max(0, keepdim=True).indices).squeeze(0)
    mean = h.sum(0) / lengths
    return torch.cat([largest, mean], -1)
