"""From the outputs at all positions of a sequence to one vector."""

from __future__ import annotations

import torch
from torch import Tensor


def pool(h: Tensor, mask: Tensor) -> Tensor:
    """Summarise each sequence by the maximum and the mean over its real positions.

    Args:
        h: (T, B, O) outputs, zero at padding.
        mask: (T, B) bool, True where there is padding; at least one position of each sequence is real.

    Returns:
        (B, 2·O), the maxima and then the means.
    """
    padding = mask.unsqueeze(-1)
    # Gathered, so that the gradient is written to these places alone and not compared and masked everywhere.
    places = h.detach().masked_fill(padding, -torch.inf).max(0, keepdim=True).indices
    largest = h.gather(0, places).squeeze(0)
    mean = h.sum(0) / (~padding).sum(0)
    return torch.cat([largest, mean], -1)
