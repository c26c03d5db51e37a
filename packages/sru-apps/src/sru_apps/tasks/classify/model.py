"""The sentence classifier: embedding, encoder, pooling, one linear layer."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

import torch
from torch import Tensor, nn

from sru_apps.nn import AttentionPooling, EncoderOptions, RecurrentEncoder, WordVectors, last, pool
from sru_apps.nn.encoders import ENCODERS
from sru_apps.nn.layers import Dropout
from sru_apps.ranges import check_at_least, ranged
from sru_apps.tasks.classify.cnn import CNNEncoder, EncoderName

_POOLINGS = ("max-mean", "last", "attention")


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(EncoderOptions):
    """Sizes and choices of a `SentenceClassifier`, and the options of its encoder.

    Raises:
        ValueError: A number is out of its range, or two choices exclude each other.
    """

    vocab_size: int
    """Rows of the embedding; row 0 is padding."""
    embedding_size: int
    """E, the length of the word vectors."""
    num_classes: int
    """Scores per sentence."""
    # Factories, because a field with a plain default is a command-line option.
    fixed_vectors: int = field(default_factory=int)
    """The number of rows at the end of the embedding that stay fixed in training."""
    multi_label: bool = field(default_factory=bool)
    """Whether a sentence may have any number of classes."""
    pairs: bool = field(default_factory=bool)
    """Whether two sentences are classified together."""
    encoder: EncoderName = "sru"
    """The encoder: a recurrent one, or cnn (Kim, 2014)."""
    hidden_size: int = ranged(128, at_least=1)
    """Units per direction of a recurrent layer."""
    num_maps: int = ranged(100, at_least=1)
    """Filters of each width of the CNN."""
    num_layers: int = ranged(2, at_least=1)
    """Recurrent layers (the CNN has one)."""
    bidirectional: bool | None = None
    """Whether recurrent layers are bidirectional; default: if the encoder can be (sru, lstm, gru, ligru,
    sligru)."""
    pooling: Literal["max-mean", "last", "attention"] = ranged("max-mean", among=_POOLINGS)
    """How the outputs of recurrent layers are pooled: maximum and mean over the words, the last output (the
    first of the backward direction), or a mean weighted by attention."""
    dropout: float = ranged(0.5, at_least=0, below=1)
    """Dropout between layers and before the linear layer."""
    embedding_dropout: float = ranged(0.5, at_least=0, below=1)
    """Dropout on the word vectors."""
    label_smoothing: float = ranged(0.0, at_least=0, below=1)
    """The fraction of each label that training spreads over all classes (Szegedy et al., 2016)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(
            1,
            vocab_size=self.vocab_size,
            embedding_size=self.embedding_size,
            num_classes=self.num_classes,
        )
        if self.encoder != "cnn":
            self.given(self.encoder)
            return
        own = [item.name for item in fields(EncoderOptions) if getattr(self, item.name) is not None]
        if own:
            raise ValueError(f"the encoder 'cnn' has no option {own[0]}; leave it out")
        if self.pooling != "max-mean":
            raise ValueError(f"the encoder 'cnn' has its own pooling; leave pooling={self.pooling!r} out")

    @property
    def both_ways(self) -> bool:
        """Whether recurrent layers are bidirectional."""
        return ENCODERS[self.encoder].both_ways if self.bidirectional is None else self.bidirectional


class SentenceClassifier(nn.Module):
    """Scores per class for sentences of word ids, or for pairs of them.

        x = dropout(embedding(ids))        h = encoder(x)        logits = W · dropout(s) + b
        s = [max_t h_t; mean_t h_t], or as `pooling` specifies, over the words only; the CNN pools by itself
        s = [u; v; |u − v|; u ⊙ v] for the summaries u, v of a pair, both from the same encoder

    Args:
        config: Sizes and choices.

    Source: for the features of a pair, Conneau et al., "Supervised Learning of Universal Sentence
    Representations from Natural Language Inference Data" (2017), section 3.1.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = WordVectors(config.vocab_size, config.embedding_size, num_fixed=config.fixed_vectors)
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
                bidirectional=config.both_ways,
                options=config,
            )
            features = self.encoder.output_size * (2 if config.pooling == "max-mean" else 1)
        if config.pooling == "attention":
            self.attention = AttentionPooling(features)
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(features * (4 if config.pairs else 1), config.num_classes)

    def forward(
        self,
        ids: Tensor,
        mask: Tensor | None = None,
        pair_ids: Tensor | None = None,
        pair_mask: Tensor | None = None,
    ) -> Tensor:
        """Score a batch.

        Args:
            ids: (T, B) int64 word ids.
            mask: (T, B) bool, True at padding, which must follow the words; no sentence is empty. None
                without padding.
            pair_ids: (T', B), the second sentences, if pairs are classified.
            pair_mask: Their padding.

        Returns:
            (B, num_classes) logits.

        Raises:
            ValueError: The second sentences are missing, or given to a model that does not classify pairs.
        """
        if (pair_ids is not None) != self.config.pairs:
            wanted = "pairs of sentences" if self.config.pairs else "single sentences"
            raise ValueError(f"SentenceClassifier: this model is for {wanted}")
        summary = self._summary(ids, mask)
        if pair_ids is not None:
            other = self._summary(pair_ids, pair_mask)
            summary = torch.cat([summary, other, (summary - other).abs(), summary * other], -1)
        return self.output(self.dropout(summary))  # type: ignore[no-any-return]

    def _summary(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        encoded = self.encoder(self.embedding_dropout(self.embedding(ids)), mask)
        if self.config.encoder == "cnn":
            return encoded  # type: ignore[no-any-return]
        h: Tensor = encoded[0]
        if self.config.pooling == "last":
            return last(h, mask, bidirectional=self.config.both_ways)
        return self.attention(h, mask) if self.config.pooling == "attention" else pool(h, mask)
