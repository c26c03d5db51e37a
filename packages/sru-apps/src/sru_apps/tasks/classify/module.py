"""The training of a sentence classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MultilabelExactMatch, MultilabelF1Score

from sru_apps.tasks.classify.data import Batch, SentenceData
from sru_apps.tasks.classify.model import ClassifierConfig, SentenceClassifier
from sru_apps.tasks.classify.predict import check_labels, modern
from sru_apps.train.module import TaskModule, count_parameters
from sru_apps.train.optimizers import OptimizerConfig


class ClassifierModule(TaskModule):
    """Training of a `SentenceClassifier`, and its figures.

    The training loss is the cross-entropy or, with several labels per sentence, the mean binary cross-entropy
    over the classes, with the chosen class weights and label smoothing. Validation and test use neither, so
    that runs can be compared.

    Args:
        config: The network, or its `dataclasses.asdict`.
        optimizer: The optimizer and its schedule, or their `dataclasses.asdict`.
        label_names: The names of the classes.
        class_weights: The weight of each class in the training loss; with several labels per sentence, the
            weight of the sentences that have it.
        label_separator: The separator between several labels of a sentence.
        temperature: The divisor of the exported model's logits, which calibrates its probabilities.
    """

    config_class = ClassifierConfig
    network_class = SentenceClassifier
    sizes_of_data = ("embedding_size",)
    shares: ClassVar[Mapping[str, str]] = {
        "accuracy": "accuracy",
        "micro_f1": "micro F1",
        "exact_match": "exact match",
    }

    def __init__(
        self,
        config: ClassifierConfig | Mapping[str, Any],
        optimizer: OptimizerConfig | Mapping[str, Any] | None = None,
        *,
        label_names: Sequence[str],
        class_weights: Sequence[float] | None = None,
        label_separator: str | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.label_names = [label_names] if isinstance(label_names, str) else list(label_names)
        weights = None if class_weights is None else list(class_weights)
        super().__init__(
            config,
            optimizer,
            label_names=self.label_names,
            class_weights=weights,
            label_separator=label_separator,
            temperature=temperature,
        )
        check_labels(self.label_names, self.config.num_classes)
        self.exported = {"labels": self.label_names, "temperature": temperature}
        if self.config.multi_label:
            self.exported["label_separator"] = label_separator
        self.network = SentenceClassifier(self.config)
        self.figures = _figures(self.config)
        # Follows from the hyper-parameters, so it is not saved with the weights.
        self.class_weights: Tensor | None
        self.register_buffer(
            "class_weights", None if weights is None else torch.tensor(weights), persistent=False
        )

    @classmethod
    def build(
        cls, data: SentenceData, options: Mapping[str, Any], optimizer: OptimizerConfig
    ) -> ClassifierModule:
        """Build the module for a data set."""
        config = ClassifierConfig(
            vocab_size=len(data.tokenizer),
            embedding_size=data.embedding_size,
            num_classes=len(data.label_names),
            fixed_vectors=data.fixed_vectors,
            multi_label=data.multi_label,
            pairs=data.pairs,
            **options,
        )
        return cls(
            config,
            optimizer,
            label_names=data.label_names,
            class_weights=data.class_weights(),
            label_separator=data.hparams["label_separator"],
        )

    @classmethod
    def from_checkpoint(cls, hyper_parameters: Mapping[str, Any]) -> ClassifierModule:
        """Build the module; in old checkpoints the fields of the configuration are not nested."""
        return cls(**modern(hyper_parameters))

    def start(self, data: SentenceData) -> None:
        """Start from pretrained word vectors, if there are any; training tunes those that are not fixed."""
        if data.pretrained is not None:
            self.network.embedding.start(data.pretrained.weight)

    def relearned(self, former: Any) -> tuple[str, tuple[str, ...]]:
        """Relearn the output layer if the labels differ."""
        if former.labels == self.label_names:
            return "", ()
        return "the labels differ", ("output.",)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        logits = self._logits(batch)
        return self._loss(logits, batch.labels, self.class_weights, self.config.label_smoothing)

    def _logits(self, batch: Batch) -> Tensor:
        return self.network(*batch.inputs)  # type: ignore[no-any-return]

    def _loss(
        self, logits: Tensor, labels: Tensor, weights: Tensor | None = None, smoothing: float = 0.0
    ) -> Tensor:
        if not self.config.multi_label:
            return F.cross_entropy(logits, labels, weights, label_smoothing=smoothing)
        # As for two classes: the label is present or missing.
        smoothed = labels.to(logits.dtype) * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smoothed, pos_weight=weights)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count correct labels."""
        stage, size = self.stage, len(batch.labels)
        logits = self._logits(batch)
        # The loggers get one row per epoch from `History`.
        self.log(
            f"{stage}_loss", self._loss(logits, batch.labels), batch_size=size, logger=False, sync_dist=True
        )
        predicted = (logits > 0).long() if self.config.multi_label else logits.argmax(-1)
        for name, metric in self.figures.items():
            assert isinstance(metric, Metric)
            metric.update(predicted, batch.labels.long())
            self.log(f"{stage}_{name}", metric, batch_size=size, logger=False, prog_bar=True)

    test_step = validation_step

    def summary(self, figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Return what `sru classify table` compares."""
        parameters = count_parameters(self) - count_parameters(self.network.embedding)
        return {**super().summary(figures), "parameters_without_embedding": parameters}


def _figures(config: ClassifierConfig) -> nn.ModuleDict:
    """Build the metrics, each over predictions and labels as integers."""
    if config.multi_label:
        kinds = {"micro_f1": MultilabelF1Score(config.num_classes, average="micro")}
        return nn.ModuleDict({**kinds, "exact_match": MultilabelExactMatch(config.num_classes)})
    return nn.ModuleDict({"accuracy": MulticlassAccuracy(config.num_classes, average="micro")})
