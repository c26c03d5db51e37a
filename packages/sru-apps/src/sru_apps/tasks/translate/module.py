"""The training of a translation model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from sru_apps.nn.cross_entropy import exp
from sru_apps.tasks.translate.batches import Batch
from sru_apps.tasks.translate.config import TranslationConfig
from sru_apps.tasks.translate.data import TranslationData
from sru_apps.tasks.translate.decoding import search
from sru_apps.tasks.translate.model import TranslationModel
from sru_apps.tasks.translate.systems import build
from sru_apps.train.module import TaskModule
from sru_apps.train.optimizers import OptimizerConfig


class TranslationModule(TaskModule):
    """Training of a `TranslationModel` with label smoothing, and its evaluation.

        loss of a token = −(1 − ε) · ln p(token) − (ε/V) · Σ_v ln p(v)

    averaged over the tokens of a batch, including the end markers. The validation and test loss has no label
    smoothing. Validation during training translates with `validation_beam`, all other evaluation with `beam`.

    Args:
        config: The network, or its `dataclasses.asdict`.
        optimizer: The optimizer and its schedule, or their `dataclasses.asdict`.
    """

    config_class = TranslationConfig
    network_class = staticmethod(build)
    # The search calls several methods, and each call would gather the weights and free them again.
    shardable = False
    sizes_of_data = ("joint",)
    points: ClassVar[Mapping[str, str]] = {"bleu": "BLEU", "chrf": "chrF"}
    network: TranslationModel

    def __init__(
        self,
        config: TranslationConfig | Mapping[str, Any],
        optimizer: OptimizerConfig | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(config, optimizer)
        self.network = build(self.config)
        self.translations: dict[str, dict[int, str]] = {}
        """The translations of each part of the data from its last evaluation, by sentence index."""
        self._reset()

    @classmethod
    def build(
        cls, data: TranslationData, options: Mapping[str, Any], optimizer: OptimizerConfig
    ) -> TranslationModule:
        """Build the module for prepared pairs."""
        assert data.tokenizer is not None
        # Fail before training if a package that validation needs is missing.
        data.scorer()
        sizes = {
            "source_vocab_size": len(data.tokenizer.source),
            "target_vocab_size": len(data.tokenizer.target),
            "joint": data.tokenizer.joint,
        }
        return cls({**sizes, **options}, optimizer)

    @classmethod
    def any_sizes(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return sizes that allow everything: those of a joint vocabulary."""
        return {**super().any_sizes(options), "joint": True}

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return the loss of a batch; `mean_loss` is the loss without smoothing."""
        nll, loss = self._losses(batch, self.config.label_smoothing)
        return {"loss": loss.mean(), "mean_loss": nll.detach().mean()}

    def _losses(self, batch: Batch, smoothing: float) -> tuple[Tensor, Tensor]:
        return self.network.loss(
            batch.source, batch.target, batch.targets, batch.source_mask, smoothing=smoothing
        )

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self._reset()

    def _reset(self) -> None:
        self._nats, self._tokens = 0.0, 0
        self._found: dict[int, str] = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add up the losses of the tokens, and translate."""
        nll, _ = self._losses(batch, 0.0)
        self._nats += float(nll.double().sum())
        self._tokens += batch.tokens
        data: TranslationData = self.trainer.datamodule  # type: ignore[attr-defined]
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        beam = self.config.validation_beam if fitting else self.config.beam
        hypotheses = search(self.network, batch.source, batch.source_mask, beam=beam)
        for index, (best, *_) in zip(batch.index.tolist(), hypotheses, strict=True):
            self._found[index] = data.translation(best.ids)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of all sentences."""
        data: TranslationData = self.trainer.datamodule  # type: ignore[attr-defined]
        part: Any = data.parts[self.stage]
        references = [data.references(part.text(index).targets) for index in self._found]
        scores = data.scorer().corpus(list(self._found.values()), references)
        self.translations[self.stage] = self._found
        loss = self._nats / max(1, self._tokens)
        self.log_figures({"loss": loss, "perplexity": exp(loss), **scores._asdict()})
        self._reset()

    on_test_epoch_start, test_step = on_validation_epoch_start, validation_step
    on_test_epoch_end = on_validation_epoch_end
