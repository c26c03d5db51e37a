"""The base class of all translation models."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sru_apps.nn import State
from sru_apps.nn.cross_entropy import smoothed_cross_entropy
from sru_apps.nn.layers import make_dropout
from sru_apps.tasks.translate.config import TranslationConfig
from sru_data.loaders import IGNORE


class Memory(NamedTuple):
    """The encoded sources, as the decoder reads them; the batch is the second axis of every tensor."""

    keys: tuple[Tensor, ...]
    """The keys of each attention, (S, B, ·)."""
    values: tuple[Tensor, ...]
    """The values of each attention, (S, B, ·)."""
    summary: Tensor
    """(1, B, ·), from which the decoder's first state is computed; no features if it needs none."""
    mask: Tensor | None
    """(S, B) bool, True at padding; None if there is no padding."""


class TranslationModel(nn.Module):
    """Scores of the next symbol of a translation: the base of every system.

        x = √E · embedding[symbol]        logits = W · dropout(h)

    Embeddings are drawn from N(0, 1/E), so x has unit variance and W may be the embedding of the target.

    Args:
        config: Sizes and choices.

    Source: the scale: Vaswani et al., "Attention Is All You Need" (2017), section 3.4; word dropout: Sennrich
    et al., "Edinburgh Neural Machine Translation Systems for WMT 16" (2016).
    """

    def __init__(self, config: TranslationConfig) -> None:
        super().__init__()
        self.config = config
        size = config.embedding_size
        self.target_embedding = _embedding(config.target_vocab_size, size)
        self.source_embedding = (
            self.target_embedding
            if config.tie_embeddings == "all"
            else _embedding(config.source_vocab_size, size)
        )
        self.output = nn.Linear(size, config.target_vocab_size, bias=False)
        if config.tie_embeddings != "none":
            self.output.weight = self.target_embedding.weight
        self.output_dropout = make_dropout(
            config.dropout if config.output_dropout is None else config.output_dropout,
            variational=config.variational,
        )

    @abstractmethod
    def encode(self, source: Tensor, mask: Tensor | None = None) -> Memory:
        """Encode the source.

        Args:
            source: (S, B) int64; each sentence has at least one symbol.
            mask: (S, B) bool, True at padding, which must follow the symbols; None if there is no padding.

        Returns:
            The memory that the decoder reads.
        """

    @abstractmethod
    def start(self, memory: Memory) -> State:
        """Return the initial state of B targets.

        Args:
            memory: The result of `encode`.
        """

    @abstractmethod
    def decode(self, target: Tensor, memory: Memory) -> Tensor:
        """Read whole targets.

        Args:
            target: (T, B) int64, bos and then the sentence. Padding follows, so no symbol depends on it.
            memory: The result of `encode`.

        Returns:
            h: (T, B, E); `output` turns it into the logits of the symbol after each position.
        """

    @abstractmethod
    def step(self, ids: Tensor, state: State, memory: Memory) -> tuple[Tensor, Tensor, State]:
        """Read one symbol of N = B·K targets, K for each source; equals `decode` of whole targets.

        Args:
            ids: (N,) int64; the targets of source b are b·K to b·K + K − 1.
            state: The result of `start` or of an earlier call, for N targets; `select_streams` reorders it.
            memory: The result of `encode` for B sources.

        Returns:
            logits: (N, V), of the next symbol.
            weights: (N, S), the attention weights of the source's symbols; each row sums to 1.
            state: The state for the next call.
        """

    def forward(self, source: Tensor, target: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """Read whole sources and targets.

        Args:
            source: As for `encode`.
            target: As for `decode`.
            source_mask: As for `encode`.

        Returns:
            (T, B, E), the result of `decode`.
        """
        return self.decode(target, self.encode(source, source_mask))

    def loss(
        self,
        source: Tensor,
        target: Tensor,
        targets: Tensor,
        source_mask: Tensor | None = None,
        *,
        smoothing: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Score the next symbols, without computing the logits of all positions at once.

        Args:
            source: As for `encode`.
            target: As for `decode`.
            targets: (T, B) int64, the symbol after each position; `IGNORE` (-100) is not scored.
            source_mask: As for `encode`.
            smoothing: The share of the probability that label smoothing spreads over all symbols.

        Returns:
            nll: (N,), the negative log-likelihoods of the N scored symbols.
            loss: (N,), the same with label smoothing.
        """
        scored = targets != IGNORE
        h = self(source, target, source_mask)[scored]
        return smoothed_cross_entropy(h, self.output.weight, None, targets[scored], smoothing=smoothing)

    def embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        """Look up symbols, with word dropout in training.

        Args:
            embedding: The source or the target embedding.
            ids: int64 of any shape.

        Returns:
            (*ids.shape, E).
        """
        x: Tensor = embedding(ids) * self.config.embedding_size**0.5
        dropped = self.config.word_dropout
        if not self.training or not dropped:
            return x
        return x * (torch.rand(*ids.shape, 1, device=x.device) >= dropped).to(x.dtype) / (1 - dropped)


def _embedding(symbols: int, size: int) -> nn.Embedding:
    embedding = nn.Embedding(symbols, size)
    nn.init.normal_(embedding.weight, std=size**-0.5)
    return embedding
