"""Attention of the decoder over the source, for all steps of a target at once."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from sru_apps.nn.layers import Dropout
from sru_nn.gemm import project


class SourceAttention(nn.Module):
    """For each query, an average of the source's vectors weighted by a score.

        o_t = Σ_j a_tj m_j        a_t = softmax_j(score(q_t, m_j))

        dot:      q_t · m_j / √Q
        general:  q_t · W m_j / √Q
        concat:   v · tanh(U q_t + W m_j + b)

    Luong et al. do not divide by √Q. Without the division, the first steps of Adam, which change all elements
    of W by the same amount, change the scores so much that each query attends to one position and the others
    get no gradient.

    Args:
        query_size: Q, the features of a query.
        size: M, the features of a vector of the source.
        score: How a query and a vector are compared; concat needs memory for T·B·S·Q numbers.
        dropout: Dropout on the weights a.

    Raises:
        ValueError: `dot` needs queries and vectors of the same size.

    Source: Luong et al., "Effective Approaches to Attention-based Neural Machine Translation" (2015), section
    3.1; √Q: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.1; concat also Bahdanau et al.,
    "Neural Machine Translation by Jointly Learning to Align and Translate" (2015), appendix A.1.2.
    """

    def __init__(
        self,
        query_size: int,
        size: int,
        *,
        score: Literal["dot", "general", "concat"] = "general",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if score == "dot" and query_size != size:
            raise ValueError(
                f"the score dot needs a decoder_size equal to the encoder's output size, {size}, got "
                f"{query_size}; choose general"
            )
        self.source: nn.Module = nn.Identity()
        if score != "dot":
            self.source = nn.Linear(size, query_size, bias=score == "concat")
        if score == "general":
            # Scores of unit variance, as with dot.
            nn.init.normal_(self.source.weight, std=size**-0.5)  # type: ignore[arg-type]
        self._scale = 1.0 if score == "concat" else query_size**-0.5
        self.query: nn.Linear | None = None
        if score == "concat":
            self.query = nn.Linear(query_size, query_size, bias=False)
            self.combine = nn.Linear(query_size, 1, bias=False)
        self.dropout = Dropout(dropout)

    def keys(self, values: Tensor) -> Tensor:
        """Return the keys, computed once for all queries.

        Args:
            values: (S, B, M), the vectors of the source.

        Returns:
            (S, B, Q).
        """
        return project(self.source, values) * self._scale

    def forward(
        self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            query: (B, T, Q).
            keys: (S, B, Q), the result of `keys`.
            values: (S, B, M), zero at padding.
            mask: (S, B) bool, True at padding; None if there is no padding.

        Returns:
            found: (B, T, M).
            weights: (B, T, S), zero at padding.
        """
        if self.query is None:
            scores = torch.bmm(query, keys.permute(1, 2, 0))
        else:
            sums = project(self.query, query).unsqueeze(2) + keys.transpose(0, 1).unsqueeze(1)
            scores = self.combine(torch.tanh(sums)).squeeze(-1)
        if mask is not None:
            scores = scores.masked_fill(mask.t().unsqueeze(1), -torch.inf)
        weights = scores.softmax(-1).to(values.dtype)
        return torch.bmm(self.dropout(weights), values.transpose(0, 1)), weights
