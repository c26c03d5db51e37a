"""The sentence classifier: embedding, encoder, pooling, one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sru_apps.nn import RecurrentEncoder, pool
from sru_apps.nn.layers import Dropout
from sru_apps.ranges import check_at_least, check_ranges, ranged


@dataclass(frozen=True)
class ClassifierConfig:
    """Sizes and choices of a `SentenceClassifier`.

    Raises:
        ValueError: A number is out of its range.
    """

    vocab_size: int
    """Rows of the embedding; row 0 is padding."""
    embedding_size: int
    """E, the length of the word vectors."""
    num_classes: int
    """Scores per sentence."""
    encoder: Literal["sru", "lstm", "gru", "cnn"] = "sru"
    """sru, lstm, gru, or cnn (Kim, 2014)."""
    hidden_size: int = ranged(128, at_least=1)
    """Units per direction of a recurrent layer."""
    num_maps: int = ranged(100, at_least=1)
    """Filters of each width of the CNN."""
    num_layers: int = ranged(2, at_least=1)
    """Recurrent layers (the CNN has one)."""
    bidirectional: bool = True
    """Let recurrent layers read both ways."""
    dropout: float = ranged(0.5, at_least=0, below=1)
    """Dropout between layers and before the linear layer."""
    embedding_dropout: float = ranged(0.5, at_least=0, below=1)
    """Dropout on the word vectors."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_at_least(
            1,
            vocab_size=self.vocab_size,
            embedding_size=self.embedding_size,
            num_classes=self.num_classes,
        )


class CNNEncoder(nn.Module):
    """Filters of several widths over the words, each summarised by its maximum over time.

        s = concat over widths w of max over t of relu(W_w · [x_t; ...; x_{t+w-1}] + b_w)

    The sentence counts as standing in zeros, so that one shorter than a filter is still seen by it, and no
    window outside it takes part in the maximum: the result does not depend on how much padding follows.

    Args:
        input_size: E.
        num_maps: Filters of each width.
        widths: Words under each filter.

    Source: Kim, "Convolutional Neural Networks for Sentence Classification" (2014), section 2.
    """

    def __init__(self, input_size: int, *, num_maps: int = 100, widths: Sequence[int] = (3, 4, 5)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.convolutions = nn.ModuleList(nn.Conv1d(input_size, num_maps, width) for width in widths)
        self.output_size = num_maps * len(widths)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode a batch of sentences.

        Args:
            x: (T, B, E) word vectors.
            mask: (T, B) bool, True where there is padding, which must follow the words; None without any.

        Returns:
            (B, output_size), not negative.
        """
        if mask is None:
            mask = x.new_zeros(x.shape[:2], dtype=torch.bool)
        x = x.masked_fill(mask.unsqueeze(-1), 0.0).permute(1, 2, 0)
        lengths = (~mask).sum(0)
        pooled = []
        for convolution, width in zip(self.convolutions, self.widths, strict=True):
            maps = torch.relu(convolution(F.pad(x, (width - 1, width - 1))))
            # Of the windows on a sentence with zeros around it, the first length + width - 1 touch a word.
            outside = torch.arange(maps.shape[-1], device=x.device) >= (lengths + width - 1).unsqueeze(-1)
            pooled.append(maps.masked_fill(outside.unsqueeze(1), 0.0).amax(-1))
        return torch.cat(pooled, -1)


class SentenceClassifier(nn.Module):
    """Scores per class for sentences of word numbers.

        x = dropout(embedding(ids))        h = encoder(x)        logits = W · dropout(s) + b
        s = [max_t h_t; mean_t h_t] for recurrent encoders, over the words only; the CNN pools by itself

    Args:
        config: Sizes and choices.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=0)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.encoder: RecurrentEncoder | CNNEncoder
        if config.encoder == "cnn":
            self.encoder = CNNEncoder(config.embedding_size, num_maps=config.num_maps)
            features = self.encoder.output_size
        else:
            self.encoder = RecurrentEncoder(
                config.encoder,
                config.embedding_size,
                config.hidden_size,
                num_layers=config.num_layers,
                dropout=config.dropout,
                bidirectional=config.bidirectional,
            )
            features = 2 * self.encoder.output_size
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(features, config.num_classes)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Score a batch.

        Args:
            ids: (T, B) int64 word numbers.
            mask: (T, B) bool, True at padding, which must follow the words; no sentence is empty. None where
                there is no padding.

        Returns:
            (B, num_classes) logits.
        """
        encoded = self.encoder(self.embedding_dropout(self.embedding(ids)), mask)
        summary = encoded if self.config.encoder == "cnn" else pool(encoded[0], mask)
        return self.output(self.dropout(summary))  # type: ignore[no-any-return]
