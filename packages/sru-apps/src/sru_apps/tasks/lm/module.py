"""The training of a language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from sru_apps.nn.states import detach_state, map_state
from sru_apps.tasks.lm.data import LanguageModelData
from sru_apps.tasks.lm.figures import FIGURE, figures
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_apps.train.module import TaskModule
from sru_apps.train.optimizers import OptimizerConfig
from sru_data.loaders import IGNORE, Segment, StreamLoader
from sru_data.texts import Unit

_WORDS = {
    "perplexity": "perplexity {:.2f}",
    "word_perplexity": "word perplexity {:.2f}",
    "bits_per_character": "{:.3f} bits per character",
    "bits_per_byte": "{:.3f} bits per byte",
    "loss": "loss {:.4f}",
}


class LanguageModelModule(TaskModule):
    """Truncated back-propagation through time: segments pass on the state but not its gradient.

    The loss of a segment is the mean over its N targets, scaled if segments vary in length:

        loss = (1/N) · Σ −log p(target)   · (T / nominal_length)

    Where a document begins in a batch, the preceding text is ignored.

    A state is carried between the batches of a `StreamLoader`, and reset at each epoch; the batches of any
    other loader are independent of each other. The carried states of all processes are part of a checkpoint
    within an epoch, so a resumed run equals an uninterrupted one.

    Args:
        config: The model, or its `dataclasses.asdict`.
        optimizer: The optimizer and its schedule, or their `dataclasses.asdict`.
        unit: What a token is, which determines the figure.
        nominal_length: The length of a segment whose loss has weight one, if lengths are random.
        separator: The id of the token that ends a document; None if a text is one document.
    """

    config_class = LanguageModelConfig
    network_class = LanguageModel
    sharded_methods = ("loss",)

    def __init__(
        self,
        config: LanguageModelConfig | Mapping[str, Any],
        optimizer: OptimizerConfig | Mapping[str, Any] | None = None,
        *,
        unit: Unit = "words",
        nominal_length: int | None = None,
        separator: int | None = None,
    ) -> None:
        super().__init__(config, optimizer, unit=unit, nominal_length=nominal_length, separator=separator)
        self.exported = {} if separator is None else {"separator": separator}
        self.unit = unit
        self.nominal_length = nominal_length
        self.network = LanguageModel(self.config)
        self._carries = False
        self._state: Any = None
        self._evaluated: Any = None
        self._sums = torch.zeros(2)

    @classmethod
    def build(
        cls, data: LanguageModelData, options: Mapping[str, Any], optimizer: OptimizerConfig
    ) -> LanguageModelModule:
        """Build the module for a text."""
        return cls(
            {"vocab_size": len(data.tokenizer), **options},
            optimizer,
            unit=cast(Unit, data.unit),
            nominal_length=data.hparams["length"] if data.hparams["random_lengths"] else None,
            separator=data.separator,
        )

    @classmethod
    def any_sizes(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return a vocabulary size that is large enough for the cutoffs in the options."""
        return {"vocab_size": 1000 + max(options.get("cutoffs") or [0])}

    def describe(self, figures: Mapping[str, float]) -> str:
        """Format figures, those for comparing models first: `perplexity 82.31, loss 4.4105`."""
        return ", ".join(text.format(figures[name]) for name, text in _WORDS.items() if name in figures)

    def on_train_start(self) -> None:
        """Find out how the text is loaded, and move a restored state to the model's device."""
        self._carries = isinstance(self.trainer.train_dataloader, StreamLoader)
        self._state = map_state(self._state, lambda part: part.to(self.device))

    def training_step(self, batch: Segment, batch_idx: int) -> dict[str, Tensor]:
        """Return the loss of a segment; `mean_loss` is per token, in nats."""
        state = self._state if self._carries and batch_idx > 0 else None
        nll, state = self.network.loss(batch.inputs, batch.targets, state, batch.reset)
        self._state = detach_state(state) if self._carries else None
        mean = nll.sum() / (batch.targets != IGNORE).sum().clamp(min=1)
        loss = mean if self.nominal_length is None else mean * (len(batch.inputs) / self.nominal_length)
        return {"loss": loss, "mean_loss": mean.detach()}

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        trainer = self.trainer
        loader = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
        self._evaluation_carries = isinstance(loader, StreamLoader)
        self._evaluated = None
        # MPS has no float64.
        kind = torch.float32 if self.device.type == "mps" else torch.float64
        self._sums = torch.zeros(2, dtype=kind, device=self.device)

    def validation_step(self, batch: Segment, batch_idx: int) -> None:
        """Add up the losses of the tokens."""
        state = self._evaluated if self._evaluation_carries and batch_idx > 0 else None
        nll, self._evaluated = self.network.loss(batch.inputs, batch.targets, state, batch.reset)
        self._sums[0] += nll.sum(dtype=self._sums.dtype)
        self._sums[1] += (batch.targets != IGNORE).sum()

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the whole text."""
        self._evaluated = None
        nats, tokens = self.trainer.strategy.reduce(self._sums, reduce_op="sum").tolist()
        counts = getattr(getattr(self.trainer, "datamodule", None), "counts", None)
        found = figures(self.unit, nats, int(tokens), counts(self.stage) if counts is not None else None)
        for name, value in found.items():
            # The loggers get one row per epoch from `History`; all processes log the same.
            usual = FIGURE[self.unit]
            self.log(f"{self.stage}_{name}", value, logger=False, prog_bar=name == usual, sync_dist=True)

    on_test_epoch_start, test_step = on_validation_epoch_start, validation_step
    on_test_epoch_end = on_validation_epoch_end

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Within an epoch, save the state that each process carries."""
        if self._trainer is None:
            return
        state = None if self.trainer.is_last_batch else self._state
        # A copy, because the state may be a view of something larger.
        own = map_state(state, lambda part: part.detach().cpu().clone())
        states: list[Any] = [own]
        if self.trainer.world_size > 1:
            states = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(states, own)
        checkpoint["carried_states"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state that this process carried."""
        states = checkpoint.get("carried_states")
        if self._trainer is not None and states and self.trainer.state.fn == TrainerFn.FITTING:
            # `RunCheckpoints` refuses a different number of processes.
            self._state = states[min(self.trainer.global_rank, len(states) - 1)]
