"""Word vectors, some of which are not trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WordVectors(nn.Embedding):
    """An embedding whose last rows are fixed: no gradient, and no work for the optimizer.

    Row 0 is padding. The trained rows come first, in `weight`; the fixed rows, if any, are in `fixed`.

    Args:
        num_rows: V, all rows.
        size: E.
        num_fixed: The number of fixed rows at the end; they are initially zero.

    Raises:
        ValueError: There is no row for padding.
    """

    def __init__(self, num_rows: int, size: int, *, num_fixed: int = 0) -> None:
        if not 0 <= num_fixed < num_rows:
            raise ValueError(
                f"WordVectors: num_fixed must be 0 or more and less than num_rows={num_rows}, got {num_fixed}"
            )
        super().__init__(num_rows - num_fixed, size, padding_idx=0)
        self.fixed: nn.Parameter | None = None
        if num_fixed:
            # Not a buffer: with several processes, buffers are broadcast at every step.
            self.fixed = nn.Parameter(torch.zeros(num_fixed, size), requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up rows.

        Args:
            ids: Rows, int64, of any shape.

        Returns:
            (..., E).
        """
        if self.fixed is None:
            return super().forward(ids)
        is_trained = ids < self.num_embeddings
        # On other devices this would wait for all queued work.
        if ids.is_cpu and not torch.compiler.is_compiling() and bool(is_trained.all()):
            return super().forward(ids)
        fixed = F.embedding((ids - self.num_embeddings).clamp(min=0), self.fixed)
        # Fixed rows are replaced by padding here, which gets no gradient.
        trained = super().forward(ids.masked_fill(~is_trained, 0))
        return torch.where(is_trained.unsqueeze(-1), trained, fixed)

    def start(self, vectors: Tensor) -> None:
        """Set all rows.

        Args:
            vectors: (V, E).
        """
        parts = [self.weight] if self.fixed is None else [self.weight, self.fixed]
        with torch.no_grad():
            for part, rows in zip(parts, torch.split(vectors, [len(part) for part in parts]), strict=True):
                part.copy_(rows)
