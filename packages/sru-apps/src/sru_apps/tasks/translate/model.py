"""What all translation models have in common."""

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
    """What the decoder knows of B sources; the batch is the second axis of every tensor."""

    keys: tuple[Tensor, ...]
    """(S, B, ·) for each attention: what queries are compared with."""
    values: tuple[Tensor, ...]
    """(S, B, ·) for each attention: what is averaged."""
    summary: Tensor
    """(1, B, ·): what the decoder's first state follows from; without features where nothing does."""
    mask: Tensor | None
    """(S, B) bool, True at padding; None without any."""


class TranslationModel(nn.Module):
    """Scores of the next symbol of a translation: the base of every system.

        x = √E · embedding[symbol]        logits = W · dropout(h)

    Embeddings are drawn from N(0, 1/E), so x has unit variance and W may be the embedding of the target.

    Args:
        config: Sizes and choices.

    Source: of the scale, Vaswani et al., "Attention Is All You Need" (2017), section 3.4; of word dropout,
    Sennrich et al., "Edinburgh Neural Machine Translation Systems for WMT 16" (2016).
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
        """Read the source.

        Args:
            source: (S, B) int64; each sentence has at least one symbol.
            mask: (S, B) bool, True at padding, which must follow the symbols; None without any.

        Returns:
            What the decoder needs to know of it.
        """

    @abstractmethod
    def start(self, memory: Memory) -> State:
        """Return the state before the first symbol of B targets.

        Args:
            memory: What `encode` returned.
        """

    @abstractmethod
    def decode(self, target: Tensor, memory: Memory) -> Tensor:
        """Read targets as a whole.

        Args:
            target: (T, B) int64, bos and then the sentence. Padding follows it, so no symbol can see it.
            memory: What `encode` returned.

        Returns:
            h: (T, B, E), from which `output` makes the logits of the symbol after each position.
        """

    @abstractmethod
    def step(self, ids: Tensor, state: State, memory: Memory) -> tuple[Tensor, Tensor, State]:
        """Read one symbol of N = B·K targets, K for each source: what `decode` does with all of them.

        Args:
            ids: (N,) int64; those of source b are b·K to b·K + K − 1.
            state: What `start` or an earlier call returned, for N targets; `select_streams` reorders it.
            memory: What `encode` returned for B sources.

        Returns:
            logits: (N, V), of the symbol that follows.
            weights: (N, S), of the symbols of the source in what was found there; they add up to 1.
            state: For the next call.
        """

    def forward(self, source: Tensor, target: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """Read sources and targets as a whole.

        Args:
            source: As for `encode`.
            target: As for `decode`.
            source_mask: As for `encode`.

        Returns:
            (T, B, E), as `decode` returns it.
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
        """Score the symbols that follow, without the logits of all positions at once.

        Args:
            source: As for `encode`.
            target: As for `decode`.
            targets: (T, B) int64, the symbol after each position, `IGNORE` (-100) where nothing is scored.
            source_mask: As for `encode`.
            smoothing: The share of the probability that label smoothing spreads over all symbols.

        Returns:
            nll: (N,), the negative log-likelihoods of the N symbols that are scored.
            loss: (N,), the same with label smoothing.
        """
        scored = targets != IGNORE
        h = self(source, target, source_mask)[scored]
        return smoothed_cross_entropy(h, self.output.weight, None, targets[scored], smoothing=smoothing)

    def embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        """Look symbols up, and forget whole symbols in training.

        Args:
            embedding: That of the source, or of the target.
            ids: int64 of any shape.

        Returns:
            The shape of `ids`, and E.
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
