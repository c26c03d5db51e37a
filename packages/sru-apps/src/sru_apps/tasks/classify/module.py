"""The training of a sentence classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from sru_apps.tasks.classify.data import Batch, SentenceData
from sru_apps.tasks.classify.model import ClassifierConfig, SentenceClassifier
from sru_apps.train.module import TaskModule, count_parameters
from sru_apps.train.optimizers import OptimizerConfig


class ClassifierModule(TaskModule):
    """Cross-entropy training of a `SentenceClassifier`, and its accuracy.

    Args:
        config: The network, or what `dataclasses.asdict` makes of it.
        optimizer: The optimizer and its schedule, or the same.
        label_names: The names of the classes.
    """

    config_class = ClassifierConfig
    network_class = SentenceClassifier

    def __init__(
        self,
        config: ClassifierConfig | Mapping[str, Any],
        optimizer: OptimizerConfig | Mapping[str, Any] | None = None,
        *,
        label_names: Sequence[str],
    ) -> None:
        self.label_names = [label_names] if isinstance(label_names, str) else list(label_names)
        super().__init__(config, optimizer, label_names=self.label_names)
        if len(self.label_names) != self.config.num_classes:
            raise ValueError(f"expected {self.config.num_classes} labels, got {len(self.label_names)}")
        texts = {name for name in self.label_names if isinstance(name, str) and name.isprintable()}
        if len(texts) < len(self.label_names):
            raise ValueError(
                f"labels must be printable texts that differ from each other, got {self.label_names!r}"
            )
        self.exported = {"labels": self.label_names}
        self.network = SentenceClassifier(self.config)
        self.accuracy = MulticlassAccuracy(self.config.num_classes, average="micro")

    @classmethod
    def build(
        cls, data: SentenceData, options: Mapping[str, Any], optimizer: OptimizerConfig
    ) -> ClassifierModule:
        """Build the module for a data set."""
        sizes = (len(data.tokenizer), data.embedding_size, len(data.label_names))
        return cls(ClassifierConfig(*sizes, **options), optimizer, label_names=data.label_names)

    @classmethod
    def from_checkpoint(cls, hyper_parameters: Mapping[str, Any]) -> ClassifierModule:
        """Build the module; former checkpoints have the fields of the configuration side by side."""
        settings = dict(hyper_parameters)
        if "config" in settings:
            return cls(**settings)
        names = settings.pop("label_names")
        return cls({**settings, "num_classes": len(names)}, label_names=names)

    @classmethod
    def from_export(cls, config: ClassifierConfig, entries: Mapping[str, Any]) -> ClassifierModule:
        """Build the module with its labels."""
        return cls(config, label_names=entries["labels"])

    def start(self, data: SentenceData) -> None:
        """Start from pretrained word vectors, if there are any; training tunes them."""
        if data.pretrained is not None:
            with torch.no_grad():
                self.network.embedding.weight.copy_(data.pretrained.weight)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        return F.cross_entropy(self.network(batch.ids, batch.mask), batch.labels)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count correct labels."""
        stage, size = "test" if self.trainer.testing else "validation", len(batch.labels)
        logits = self.network(batch.ids, batch.mask)
        self.accuracy.update(logits, batch.labels)
        loss = F.cross_entropy(logits, batch.labels)
        # The loggers get one row per epoch from `History`.
        self.log(f"{stage}_loss", loss, batch_size=size, logger=False, sync_dist=True)
        self.log(f"{stage}_accuracy", self.accuracy, batch_size=size, logger=False, prog_bar=True)

    test_step = validation_step

    def describe(self, figures: Mapping[str, float]) -> str:
        """Put figures in words: `accuracy 82.51 %, loss 0.4405`."""
        return f"accuracy {100 * figures['accuracy']:.2f} %, loss {figures['loss']:.4f}"

    def summary(self, figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Return what `sru classify table` compares."""
        parameters = count_parameters(self) - count_parameters(self.network.embedding)
        accuracies = {f"{part}_accuracy": found["accuracy"] for part, found in figures.items()}
        return {**accuracies, "parameters_without_embedding": parameters}
