"""The training of a sentence classifier."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from sru_apps.classification.data import Batch
from sru_apps.classification.model import ClassifierConfig, EncoderName, SentenceClassifier

TASK = "classify"


class ClassifierModule(LightningModule):
    """Cross-entropy training of a `SentenceClassifier`, and its accuracy.

    Args:
        vocab_size: Rows of the embedding.
        embedding_size: Length of the word vectors.
        label_names: The names of the classes.
        encoder: sru, lstm, gru, or cnn (Kim, 2014).
        hidden_size: Units per direction of a recurrent layer.
        num_maps: Filters of each width of the CNN.
        num_layers: Recurrent layers (the CNN has one).
        bidirectional: Whether recurrent layers read both ways.
        dropout: Dropout between layers and before the linear layer.
        embedding_dropout: Dropout on the word vectors.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        label_names: list[str],
        encoder: EncoderName = "sru",
        hidden_size: int = 128,
        num_maps: int = 100,
        num_layers: int = 2,
        bidirectional: bool = True,
        dropout: float = 0.5,
        embedding_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.label_names = list(label_names)
        config = ClassifierConfig(
            vocab_size=vocab_size,
            embedding_size=embedding_size,
            num_classes=len(self.label_names),
            encoder=encoder,
            hidden_size=hidden_size,
            num_maps=num_maps,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            embedding_dropout=embedding_dropout,
        )
        self.network = SentenceClassifier(config)
        self.accuracy = MulticlassAccuracy(config.num_classes, average="micro")

    def use_vectors(self, weight: Tensor) -> None:
        """Start from pretrained word vectors, which training goes on to tune.

        Args:
            weight: (vocab_size, embedding_size).
        """
        with torch.no_grad():
            self.network.embedding.weight.copy_(weight)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        return F.cross_entropy(self.network(batch.ids, batch.mask), batch.labels)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count what is right."""
        self._evaluate(batch, "validation")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count what is right."""
        self._evaluate(batch, "test")

    def _evaluate(self, batch: Batch, stage: str) -> None:
        logits = self.network(batch.ids, batch.mask)
        self.accuracy.update(logits, batch.labels)
        size = len(batch.labels)
        # The loggers get one row an epoch from `History`.
        self.log(f"{stage}_loss", F.cross_entropy(logits, batch.labels), batch_size=size, logger=False)
        self.log(f"{stage}_accuracy", self.accuracy, batch_size=size, logger=False, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the task, so that another one can refuse the checkpoint."""
        checkpoint["task"] = TASK
