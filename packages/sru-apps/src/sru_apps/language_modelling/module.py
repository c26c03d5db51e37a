"""The training of a language model."""

from __future__ import annotations

import math
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional as F

from sru_apps.encoders import RecurrentName, State
from sru_apps.language_modelling.data import Segment
from sru_apps.language_modelling.model import RecurrentLanguageModel, detach

TASK = "demo"
"""The command that trains the model, as `sru` calls it."""


class LanguageModelModule(LightningModule):
    """Truncated back-propagation through time over contiguous streams; the figure is bits per symbol.

    Args:
        vocab_size: V.
        encoder: The recurrent cell: sru, lstm or gru.
        embedding_size: Width of the embedding.
        hidden_size: D.
        num_layers: L.
        dropout: Dropout on the embedding, between the layers and before the output.
        learning_rate: The peak of the one-cycle schedule of Adam.
    """

    def __init__(
        self,
        vocab_size: int,
        encoder: RecurrentName = "sru",
        embedding_size: int = 128,
        hidden_size: int = 256,
        num_layers: int = 2,
        dropout: float = 0.0,
        learning_rate: float = 4e-3,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.network = RecurrentLanguageModel(
            vocab_size,
            encoder=encoder,
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
        )
        self.learning_rate = learning_rate
        self._state: State | None = None

    def on_train_epoch_start(self) -> None:
        """Begin the text anew."""
        self._state = None

    def on_validation_epoch_start(self) -> None:
        """Begin the text anew."""
        self._state = None

    def training_step(self, batch: Segment, batch_idx: int) -> Tensor:
        """The mean loss of a segment, in nats."""
        return self._loss(batch)

    def validation_step(self, batch: Segment, batch_idx: int) -> None:
        """Average over the symbols of the text."""
        loss = self._loss(batch)
        size = batch.targets.numel()
        self.log("validation_loss", loss, batch_size=size, logger=False)
        self.log("validation_bits", loss / math.log(2), batch_size=size, logger=False, prog_bar=True)

    def _loss(self, batch: Segment) -> Tensor:
        logits, state = self.network(batch.inputs, self._state)
        self._state = detach(state)
        return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam, with one cycle of the learning rate over the whole training."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the task, so that another one can refuse the checkpoint."""
        checkpoint["task"] = TASK
