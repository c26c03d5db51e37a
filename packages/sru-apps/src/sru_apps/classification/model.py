"""The sentence classifier: embedding, encoder, pooling, one linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from sru_apps.classification.cnn import CNNEncoder
from sru_apps.dropout import Dropout
from sru_apps.encoders import RecurrentEncoder, pool

EncoderName = Literal["sru", "lstm", "gru", "cnn"]


@dataclass(frozen=True)
class ClassifierConfig:
    """What it takes to build a `SentenceClassifier`.

    Raises:
        ValueError: When a size is less than 1, or a dropout is not from 0 to below 1.
    """

    vocab_size: int
    """Rows of the embedding; row 0 is padding."""
    embedding_size: int
    """E."""
    num_classes: int
    """Scores per sentence."""
    encoder: EncoderName = "sru"
    """`sru`, `lstm`, `gru` or `cnn`."""
    hidden_size: int = 128
    """Units per direction of a recurrent layer."""
    num_maps: int = 100
    """Filters per width of the CNN."""
    num_layers: int = 2
    """Recurrent layers (the CNN has one)."""
    bidirectional: bool = True
    """Whether recurrent layers read both ways."""
    dropout: float = 0.5
    """Dropout between layers and before the linear layer."""
    embedding_dropout: float = 0.5
    """Dropout on the word vectors."""

    def __post_init__(self) -> None:
        for name in ("embedding_size", "hidden_size", "num_maps", "num_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("dropout", "embedding_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and less than 1, got {getattr(self, name)}")


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
            mask: (T, B) bool, True where there is padding, which must follow the words; no sentence is empty.
                None where there is no padding.

        Returns:
            (B, num_classes) logits.
        """
        x = self.embedding_dropout(self.embedding(ids))
        if isinstance(self.encoder, CNNEncoder):
            summary = self.encoder(x, mask)
        else:
            h, _ = self.encoder(x, mask)
            summary = pool(h, mask)
        logits: Tensor = self.output(self.dropout(summary))
        return logits
