"""The training of a language model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from sru_apps.encoders import detach_state
from sru_apps.language_modelling.config import LanguageModelConfig
from sru_apps.language_modelling.figures import FIGURE, figures
from sru_apps.language_modelling.load import TASK
from sru_apps.language_modelling.model import LanguageModel
from sru_apps.training.errors import UserError
from sru_apps.training.optimizers import OptimizerConfig, build_optimizer
from sru_apps.training.schedules import LearningRate
from sru_apps.training.sharding import shard
from sru_data.streams import IGNORE, Segment, StreamLoader
from sru_data.text import Unit


class LanguageModelModule(LightningModule):
    """Truncated back-propagation through time: the state is carried on to the next segment, its gradient not.

    The loss of a segment is the mean over its N targets, scaled where segments vary in length:

        loss = (1/N) · Σ −log p(target)   · (T / nominal_length)

    A state is carried between the batches of a `StreamLoader`, and begins anew with each epoch; the batches
    of any other loader are independent of each other. The carried states of all processes are part of a
    checkpoint within an epoch, so that a continued run goes on as an undisturbed one.

    Args:
        config: The model, or what `dataclasses.asdict` makes of it.
        optimizer: The optimizer and its schedule, or the same.
        unit: What a token is, which decides the figure.
        nominal_length: The length of a segment whose loss counts once, where lengths are random.
    """

    task: ClassVar[str] = TASK

    def __init__(
        self,
        config: LanguageModelConfig | Mapping[str, Any],
        optimizer: OptimizerConfig | Mapping[str, Any] | None = None,
        *,
        unit: Unit = "words",
        nominal_length: int | None = None,
    ) -> None:
        super().__init__()
        self.config = config if isinstance(config, LanguageModelConfig) else LanguageModelConfig(**config)
        if not isinstance(optimizer, OptimizerConfig):
            optimizer = OptimizerConfig(**(optimizer or {}))
        self.optimizer = optimizer
        self.unit = unit
        self.nominal_length = nominal_length
        self.save_hyperparameters(
            {
                "config": asdict(self.config),
                "optimizer": asdict(optimizer),
                "unit": unit,
                "nominal_length": nominal_length,
            },
            logger=False,
        )
        self.network = LanguageModel(self.config)
        self._carries = False
        self._state: Any = None
        self._evaluated: Any = None
        self._nats = self._tokens = torch.zeros(())

    def configure_model(self) -> None:
        """Share out the weights, where the strategy is to do so."""
        if self.device_mesh is not None:
            shard(self.network, self.device_mesh, methods=("loss",))

    def on_train_start(self) -> None:
        """Look at how the text comes, and move a restored state to where the model is."""
        self._carries = isinstance(self.trainer.train_dataloader, StreamLoader)
        self._state = map_state(self._state, lambda part: part.to(self.device))

    def on_train_epoch_start(self) -> None:
        """Set the learning rate of the epoch, where the schedule goes by epochs."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, LearningRate):
            scheduler.begin_epoch(self.current_epoch + 1)

    def training_step(self, batch: Segment, batch_idx: int) -> dict[str, Tensor]:
        """The loss of a segment; `mean_loss` is that of a token, in nats."""
        state = self._state if self._carries and batch_idx > 0 else None
        nll, state = self.network.loss(batch.inputs, batch.targets, state)
        self._state = detach_state(state) if self._carries else None
        mean = nll.sum() / (batch.targets != IGNORE).sum().clamp(min=1)
        loss = mean if self.nominal_length is None else mean * (len(batch.inputs) / self.nominal_length)
        return {"loss": loss, "mean_loss": mean.detach()}

    def on_validation_epoch_start(self) -> None:
        """Count from nought."""
        self._begin_evaluation(self.trainer.val_dataloaders)

    def validation_step(self, batch: Segment, batch_idx: int) -> None:
        """Add up what each token costs."""
        self._evaluate(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the whole text."""
        loss = self._finish_evaluation("validation")
        scheduler = self.lr_schedulers() if self.trainer.state.fn == TrainerFn.FITTING else None
        if isinstance(scheduler, LearningRate):
            scheduler.validated(loss)

    def on_test_epoch_start(self) -> None:
        """Count from nought."""
        self._begin_evaluation(self.trainer.test_dataloaders)

    def test_step(self, batch: Segment, batch_idx: int) -> None:
        """Add up what each token costs."""
        self._evaluate(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the figures of the whole text."""
        self._finish_evaluation("test")

    def _begin_evaluation(self, loader: object) -> None:
        self._evaluation_carries = isinstance(loader, StreamLoader)
        self._evaluated = None
        # MPS has no float64.
        kind = torch.float32 if self.device.type == "mps" else torch.float64
        self._nats = torch.zeros((), dtype=kind, device=self.device)
        self._tokens = torch.zeros((), dtype=kind, device=self.device)

    def _evaluate(self, batch: Segment, batch_idx: int) -> None:
        state = self._evaluated if self._evaluation_carries and batch_idx > 0 else None
        nll, self._evaluated = self.network.loss(batch.inputs, batch.targets, state)
        self._nats += nll.sum(dtype=self._nats.dtype)
        self._tokens += (batch.targets != IGNORE).sum()

    def _finish_evaluation(self, stage: Literal["validation", "test"]) -> float:
        self._evaluated = None
        sums = torch.stack([self._nats, self._tokens])
        if self.trainer.world_size > 1:
            sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        nats, tokens = sums.tolist()
        counts = getattr(self._data, "counts", None)
        found = figures(self.unit, nats, int(tokens), counts(stage) if counts is not None else None)
        for name, value in found.items():
            # The loggers get one row an epoch from `History`; all processes log the same.
            self.log(
                f"{stage}_{name}",
                value,
                logger=False,
                prog_bar=name == FIGURE[self.unit],
                sync_dist=True,
            )
        return found["loss"]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer, and the schedule unless the learning rate stays as it is."""
        # Lightning cannot clip before a fused optimizer in mixed precision, which undoes the scaling itself.
        mixed = "mixed" in str(self.trainer.precision)
        fused = not (mixed and self.trainer.gradient_clip_val)
        optimizer = build_optimizer(self, self.optimizer, fused=fused)
        if self.optimizer.schedule == "constant" and not self.optimizer.warmup_steps:
            return optimizer
        schedule = LearningRate(optimizer, self.optimizer, total_steps=self._total_steps())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def _data(self) -> LightningDataModule | None:
        # Lightning sets the attribute without declaring it.
        return getattr(self.trainer, "datamodule", None)

    def _total_steps(self) -> int:
        if self.optimizer.schedule not in ("cosine", "one-cycle"):
            return 0
        trainer, data = self.trainer, self._data
        if data is None:
            return int(trainer.estimated_stepping_batches)
        # Lightning's estimate would set up its loader here, and then not restore the place in it.
        batches = len(data.train_dataloader())
        steps = math.ceil(batches / trainer.accumulate_grad_batches) * (trainer.max_epochs or 1)
        return min(steps, trainer.max_steps) if trainer.max_steps > 0 else steps

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the task, and within an epoch keep what each process carries."""
        checkpoint["task"] = self.task
        if self._trainer is None:
            return
        state = None
        if not self.trainer.is_last_batch:
            # The copy holds nothing but the state, where it is a view of something larger.
            state = map_state(self._state, lambda part: part.detach().cpu().clone())
        states: list[Any] = [state]
        if self.trainer.world_size > 1:
            states = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(states, state)
        checkpoint["carried_states"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what this process carried.

        Raises:
            UserError: When there are more processes, or fewer.
        """
        states = checkpoint.get("carried_states")
        if self._trainer is None or states is None or self.trainer.state.fn != TrainerFn.FITTING:
            return
        if len(states) != self.trainer.world_size:
            raise UserError(
                f"the run was trained by {len(states)} processes and cannot go on with "
                f"{self.trainer.world_size}, which would read other streams; "
                f"continue with --trainer.devices {len(states)}"
            )
        self._state = states[self.trainer.global_rank]


def map_state(state: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor of nested tuples.

    Args:
        state: A tensor, None, or a tuple of such.
        function: What to do with each tensor.

    Returns:
        The same form with the results.
    """
    if state is None:
        return None
    if isinstance(state, Tensor):
        return function(state)
    return tuple(map_state(part, function) for part in state)
