"""What the trainer asks of a task's data and module."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, ClassVar

from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from typing_extensions import Self

from sru_apps.train.optimizers import OptimizerConfig, build_optimizer
from sru_apps.train.schedules import LearningRate
from sru_apps.train.sharding import shard


class TaskData(LightningDataModule):
    """The data of a task.

    `prepare_data` downloads and writes what all processes share, `setup` reads it; before that there are no
    loaders, no tokenizer and no sizes. The trainer calls both before it builds the module.

    `state_dict` holds the tokenizer, so that a checkpoint can be used without the data; `load_state_dict`
    before `setup` takes it over, and after `setup` refuses another one.
    """

    unit: str = ""
    """What a token is, if the speed of training is to be measured in tokens."""
    dataset: str
    """What to call the data."""
    group: str
    """The folder of like runs, where there is no recipe to name it after."""
    has_test: bool = True
    """Whether there is a test set; known after `setup`."""

    def opening(self) -> str:
        """Say what has been read, in a line or none."""
        return ""

    def report(self) -> str:
        """Describe the data, for `sru TASK prepare`."""
        return self.opening()

    def warn_about(self, stage: str) -> None:
        """Warn of settings that make a figure say little, before `validate` or `test` measures it."""

    @property
    def rank(self) -> tuple[int, int]:
        """The number of this process, and how many there are."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)


class TaskModule(LightningModule):
    """The training of a task's network.

    Args:
        config: What builds the network, or what `dataclasses.asdict` makes of it.
        optimizer: The optimizer and its schedule, or the same.
        facts: What else the constructor of the derived class takes, to be saved with the checkpoint.
    """

    config_class: ClassVar[Any]
    """A dataclass; the fields without a default are what the data tell."""
    sharded_methods: ClassVar[tuple[str, ...]] = ()
    """Methods of the network that use its parameters and are called instead of `forward`."""
    network: nn.Module

    def __init__(
        self, config: Any, optimizer: OptimizerConfig | Mapping[str, Any] | None = None, **facts: Any
    ) -> None:
        super().__init__()
        self.config = config if isinstance(config, self.config_class) else self.config_class(**config)
        self.optimizer = OptimizerConfig.of(optimizer or {})
        hyper_parameters = {"config": asdict(self.config), "optimizer": asdict(self.optimizer), **facts}
        self.save_hyperparameters(hyper_parameters, logger=False)

    @classmethod
    def build(cls, data: Any, options: Mapping[str, Any], optimizer: OptimizerConfig) -> Self:
        """Build the module for data that have been set up.

        Args:
            data: The task's data.
            options: The options `--model.*`.
            optimizer: The options `--optimizer.*`.
        """
        raise NotImplementedError

    @classmethod
    def from_checkpoint(cls, hyper_parameters: Mapping[str, Any]) -> Self:
        """Build the module from what a checkpoint says of it, which may be of a former version."""
        return cls(**hyper_parameters)

    def start(self, data: Any) -> None:
        """Do what a new run, and not a continued one, needs before its first step."""

    def describe(self, figures: Mapping[str, float]) -> str:
        """Put figures in words."""
        raise NotImplementedError

    def export(self, folder: Path, data: Any, *, task: str) -> None:
        """Write the network, and what it takes to use it, to a folder."""
        raise NotImplementedError

    def summary(self, validation: Mapping[str, float], test: Mapping[str, float] | None) -> dict[str, Any]:
        """Return what `summary.json` is to hold besides the common entries."""
        return {}

    def configure_model(self) -> None:
        """Shard the weights, where the strategy asks for it."""
        if self.device_mesh is not None:
            shard(self.network, self.device_mesh, methods=self.sharded_methods)

    def on_train_epoch_start(self) -> None:
        """Set the learning rate of the epoch, where the schedule goes by epochs."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, LearningRate):
            scheduler.begin_epoch(self.current_epoch + 1)

    def on_validation_end(self) -> None:
        """Shrink the learning rate, where the schedule goes by the validation loss."""
        scheduler = self.lr_schedulers() if self.trainer.state.fn == TrainerFn.FITTING else None
        if isinstance(scheduler, LearningRate):
            scheduler.validated(float(self.trainer.callback_metrics["validation_loss"]))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimizer, and the schedule unless the learning rate is constant."""
        # Lightning cannot clip before a fused optimizer in mixed precision, which undoes the scaling itself.
        mixed = "mixed" in str(self.trainer.precision)
        fused = not (mixed and self.trainer.gradient_clip_val)
        optimizer = build_optimizer(self, self.optimizer, fused=fused)
        if self.optimizer.schedule == "constant" and not self.optimizer.warmup_steps:
            return optimizer
        schedule = LearningRate(optimizer, self.optimizer, total_steps=self._total_steps())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _total_steps(self) -> int:
        if self.optimizer.schedule not in ("cosine", "one-cycle"):
            return 0
        trainer = self.trainer
        # Lightning sets the attribute without declaring it.
        data: LightningDataModule | None = getattr(trainer, "datamodule", None)
        if data is None:
            return int(trainer.estimated_stepping_batches)
        # Lightning's estimate would set up its loader here, and then not restore the place in it.
        batches = len(data.train_dataloader())
        steps = math.ceil(batches / trainer.accumulate_grad_batches) * (trainer.max_epochs or 1)
        return min(steps, trainer.max_steps) if trainer.max_steps > 0 else steps


def told_by_data(config_class: Any) -> set[str]:
    """Name the fields of a configuration that have no default: what the data tell, and no option."""
    return {item.name for item in fields(config_class) if item.default is MISSING}


def count_parameters(module: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
