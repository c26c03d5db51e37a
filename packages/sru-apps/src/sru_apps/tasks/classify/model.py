"""The sentence classifier: embedding, encoder, pooling, one linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from sru_apps.nn import RecurrentEncoder, pool
from sru_apps.nn.cnn import CNNEncoder
from sru_apps.nn.dropout import Dropout
from sru_apps.ranges import check_at_least, check_ranges, ranged

EncoderName = Literal["sru", "lstm", "gru", "cnn"]


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
    encoder: EncoderName = "sru"
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
        check_at_least(1, embedding_size=self.embedding_size)


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
        x = self.embedding_dropout(self.embedding(ids))
        if isinstance(self.encoder, CNNEncoder):
            summary = self.encoder(x, mask)
        else:
            h, _ = self.encoder(x, mask)
            summary = pool(h, mask)
        logits: Tensor = self.output(self.dropout(summary))
        return logits
