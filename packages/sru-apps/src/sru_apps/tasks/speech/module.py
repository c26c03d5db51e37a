"""The training of a speech recogniser, or of a classifier of clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from sru_apps.tasks.speech.batches import Batch
from sru_apps.tasks.speech.data import SpeechData
from sru_apps.tasks.speech.metrics import ErrorRates, import_jiwer, rates_of
from sru_apps.tasks.speech.model import SpeechConfig, SpeechModel, ctc_losses
from sru_apps.train.module import TaskModule
from sru_apps.train.optimizers import OptimizerConfig


class SpeechModule(TaskModule):
    """Training of a `SpeechModel`, and its figures.

        loss of a transcript = −ln p(transcript) / its symbols        of a label = −ln p(label)

    averaged over the utterances of a batch. The validation and test losses are over all symbols. An utterance
    that is too short for its transcript has no loss, but its errors are counted.

    Args:
        config: The network, or its `dataclasses.asdict`.
        optimizer: The optimizer and its schedule, or their `dataclasses.asdict`.
        features: How features are computed, the fields of a `FeatureConfig`.
        unit: What a symbol of the alphabet is.
    """

    config_class = SpeechConfig
    network_class = SpeechModel
    sizes_of_data = ("subsampling",)
    shares: ClassVar[Mapping[str, str]] = {
        "wer": "WER",
        "cer": "CER",
        "per": "PER",
        "accuracy": "accuracy",
    }

    def __init__(
        self,
        config: SpeechConfig | Mapping[str, Any],
        optimizer: OptimizerConfig | Mapping[str, Any] | None = None,
        *,
        features: Mapping[str, Any],
        unit: str,
    ) -> None:
        self.exported = {"features": dict(features), "unit": unit}
        super().__init__(config, optimizer, **self.exported)
        self.network = SpeechModel(self.config)
        self.rates = ErrorRates(() if self.config.classify else rates_of(unit))
        self._reset()

    @classmethod
    def build(cls, data: SpeechData, options: Mapping[str, Any], optimizer: OptimizerConfig) -> SpeechModule:
        """Build the module for prepared utterances."""
        config = SpeechConfig(
            input_size=data.features.size,
            vocab_size=len(data.tokenizer),
            subsampling=data.hparams["subsampling"],
            classify=data.classify,
            **options,
        )
        if not config.classify:
            # Packages that validation needs are checked before training.
            import_jiwer()
            data.decoding(config)
        return cls(config, optimizer, features=asdict(data.features), unit=data.unit_of_symbols)

    @classmethod
    def any_sizes(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return placeholder values for what the data determines, with a valid `subsampling`."""
        return {**super().any_sizes(options), "subsampling": 1}

    def start(self, data: SpeechData) -> None:
        """Normalise by the mean and the standard deviation of the training data."""
        if data.hparams["normalization"] == "global":
            self.network.normalize_by(*data.statistics())

    def relearned(self, former: Any) -> tuple[str, tuple[str, ...]]:
        """Relearn the output layer if its symbols or labels differ."""
        if former.config.classify == self.config.classify:
            return "", ()
        return "the outputs differ", ("output.",)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        logits, mask = self.network(batch.features, batch.mask)
        if self.config.classify:
            return F.cross_entropy(logits, batch.targets[:, 0])
        losses, fits = ctc_losses(logits, mask, batch.targets, batch.target_lengths)
        return (losses / batch.target_lengths.clamp(min=1)).sum() / fits.sum().clamp(min=1)

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._reset()

    def _reset(self) -> None:
        self.rates.reset()
        self._nats = 0.0
        self._counted = self._right = 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count errors."""
        logits, mask = self.network(batch.features, batch.mask)
        if self.config.classify:
            labels = batch.targets[:, 0]
            self._nats += float(F.cross_entropy(logits.float(), labels, reduction="sum"))
            self._counted += len(labels)
            self._right += int((logits.argmax(-1) == labels).sum())
            return
        losses, fits = ctc_losses(logits, mask, batch.targets, batch.target_lengths)
        self._nats += float(losses.double().sum())
        self._counted += int(batch.target_lengths[fits].sum())
        data: SpeechData = self.trainer.datamodule  # type: ignore[attr-defined]
        references = [data.transcript(self.stage, index) for index in batch.index.tolist()]
        self.rates.update(references, data.decoding(self.config).texts(logits, mask))

    def on_validation_epoch_end(self) -> None:
        """Log the figures of all utterances."""
        if self.config.classify:
            accuracy = self._right / max(1, self._counted)
            figures = {"accuracy": accuracy, "error_rate": 1 - accuracy}
        else:
            figures = self.rates.compute()
        self.log_figures({"loss": self._nats / max(1, self._counted), **figures})

    on_test_epoch_start, test_step = on_validation_epoch_start, validation_step
    on_test_epoch_end = on_validation_epoch_end
