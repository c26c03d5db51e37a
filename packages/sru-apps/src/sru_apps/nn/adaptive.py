"""Adaptive input embeddings and the adaptive softmax: rare symbols get fewer features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sru_apps.nn.cross_entropy import linear_cross_entropy


def default_cutoffs(vocab_size: int) -> tuple[int, ...]:
    """Choose where the clusters begin: at 3/40 and 9/40 of the vocabulary.

    For the 267,735 words of WikiText-103 these are 20,080 and 60,240, where Baevski and Auli have 20,000 and
    60,000.

    Args:
        vocab_size: V.

    Raises:
        ValueError: The vocabulary is too small to be divided.
    """
    cutoffs = (3 * vocab_size // 40, 9 * vocab_size // 40)
    if not 0 < cutoffs[0] < cutoffs[1]:
        raise ValueError(
            f"a vocabulary of {vocab_size} is too small for an adaptive embedding or softmax; choose plain "
            "and linear"
        )
    return cutoffs


def _bounds(vocab_size: int, cutoffs: Sequence[int]) -> list[tuple[int, int]]:
    edges = [0, *cutoffs, vocab_size]
    if len(edges) < 3 or any(low >= high for low, high in pairwise(edges)):
        raise ValueError(
            f"cutoffs must rise from at least 1 to less than the vocabulary's {vocab_size}, got "
            f"{', '.join(map(str, cutoffs)) or 'none'}"
        )
    return list(pairwise(edges))


def _widths(features: int, clusters: int, shrink: int) -> list[int]:
    widths = [features // shrink**cluster for cluster in range(clusters)]
    if widths[-1] < 1:
        raise ValueError(
            f"{features} features are too few for {clusters} clusters that shrink by {shrink}; choose fewer "
            "cutoffs or a smaller cluster_shrink"
        )
    return widths


class AdaptiveEmbedding(nn.Module):
    """An embedding whose clusters of rarer symbols are narrower and projected to the common width.

        x = P_k e_k[id − low_k]   for an id of cluster k, with e_k of E / shrink^k features and P_0 = 1

    Ids must be in order of decreasing frequency, as in the word tokenizers.

    Args:
        vocab_size: V.
        embedding_size: E.
        cutoffs: The first id of each cluster but the first, in increasing order.
        shrink: The factor by which each cluster is narrower than the one before.

    Raises:
        ValueError: The cutoffs do not increase within the vocabulary, or the last cluster has no features.

    Source: Baevski and Auli, "Adaptive Input Representations for Neural Language Modeling", ICLR 2019,
    section 3; the embeddings are drawn from N(0, 1/width) as there.
    """

    def __init__(
        self, vocab_size: int, embedding_size: int, *, cutoffs: Sequence[int], shrink: int = 4
    ) -> None:
        super().__init__()
        self.bounds = _bounds(vocab_size, cutoffs)
        self.embedding_size = embedding_size
        widths = _widths(embedding_size, len(self.bounds), shrink)
        self.embeddings = nn.ModuleList(
            nn.Embedding(high - low, width) for (low, high), width in zip(self.bounds, widths, strict=True)
        )
        self.projections = nn.ModuleList(nn.Linear(width, embedding_size, bias=False) for width in widths[1:])
        for weight in self.embeddings.parameters():
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        for weight in self.projections.parameters():
            nn.init.xavier_uniform_(weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed symbols.

        Args:
            ids: int64 of any shape.

        Returns:
            (*ids.shape, E).
        """
        flat = ids.reshape(-1)
        # All ids go through the first cluster, which has most of them; the rows of the others are replaced.
        x: Tensor = self.embeddings[0](flat.clamp(max=self.bounds[0][1] - 1))
        for (low, high), embedding, projection in zip(
            self.bounds[1:], list(self.embeddings)[1:], self.projections, strict=True
        ):
            inside = (flat >= low) & (flat < high)
            if torch.compiler.is_compiling():
                # Every row goes through every cluster: in a graph, sizes must not depend on the ids.
                found = projection(embedding((flat - low).clamp(0, high - low - 1)))
                x = torch.where(inside[:, None], found, x.to(found.dtype))
                continue
            (rows,) = torch.where(inside)
            # Run even without symbols, so that every parameter has a gradient on every process.
            found = projection(embedding(flat[rows] - low))
            x = x.to(found.dtype).index_copy(0, rows, found)
        return x.view(*ids.shape, self.embedding_size)


class AdaptiveSoftmax(nn.Module):
    """A softmax over the frequent symbols and the clusters of the rarer ones, and one within each cluster.

        log p(y) = log softmax(W_0 x)[y]                                        for a frequent y
        log p(y) = log softmax(W_0 x)[k] + log softmax(W_k P_k x)[y − low_k]    for y of cluster k

    Ids must be in order of decreasing frequency. This is `nn.AdaptiveLogSoftmaxWithLoss` with ignored
    targets, losses computed in slices, and weights that can be shared with an `AdaptiveEmbedding`.

    Args:
        features: E, of the input.
        vocab_size: V.
        cutoffs: As for `AdaptiveEmbedding`.
        shrink: As for `AdaptiveEmbedding`.
        tied: An embedding of the same sizes, whose cluster weights are shared.

    Raises:
        ValueError: As for `AdaptiveEmbedding`.

    Source: Grave et al., "Efficient softmax approximation for GPUs", ICML 2017.
    """

    def __init__(
        self,
        features: int,
        vocab_size: int,
        *,
        cutoffs: Sequence[int],
        shrink: int = 4,
        tied: AdaptiveEmbedding | None = None,
    ) -> None:
        super().__init__()
        self.bounds = _bounds(vocab_size, cutoffs)
        widths = _widths(features, len(self.bounds), shrink)
        self.cluster = nn.Linear(features, len(self.bounds) - 1, bias=False)
        self.projections = nn.ModuleList(nn.Linear(features, width, bias=False) for width in widths[1:])
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(high - low, width)) if tied is None else tied.embeddings[k].weight
            for k, ((low, high), width) in enumerate(zip(self.bounds, widths, strict=True))
        )
        for weight in (self.cluster.weight, *self.projections.parameters()):
            nn.init.xavier_uniform_(weight)
        if tied is None:
            for weight in self.weights:
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-probabilities of all symbols.

        Args:
            x: (..., E).

        Returns:
            (..., V).
        """
        head = F.linear(x, self._head()).log_softmax(-1)
        frequent = self.bounds[0][1]
        parts = [head[..., :frequent]]
        for k, (projection, weight) in enumerate(zip(self.projections, list(self.weights)[1:], strict=True)):
            within = F.linear(projection(x), weight).log_softmax(-1)
            parts.append(within + head[..., frequent + k, None])
        return torch.cat(parts, -1)

    def loss(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the negative log-likelihood of each target.

        Args:
            x: (N, E).
            targets: (N,) int64, `IGNORE` where nothing is scored.

        Returns:
            (N,) float32, or float64 for float64 input; 0 where nothing is scored.
        """
        frequent = self.bounds[0][1]
        found = []
        first = targets
        for k, (low, high) in enumerate(self.bounds[1:]):
            inside = (targets >= low) & (targets < high)
            found.append(torch.where(inside)[0])
            first = first.masked_fill(inside, frequent + k)
        nll = linear_cross_entropy(x, self._head(), None, first)
        for (low, _), rows, projection, weight in zip(
            self.bounds[1:], found, self.projections, list(self.weights)[1:], strict=True
        ):
            # Run even without targets, so that every parameter has a gradient on every process.
            within = linear_cross_entropy(projection(x[rows]), weight, None, targets[rows] - low)
            nll = nll.index_add(0, rows, within)
        return nll

    def _head(self) -> Tensor:
        return torch.cat([self.weights[0], self.cluster.weight])
