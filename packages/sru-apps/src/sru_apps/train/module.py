"""The base class of every task's module, with the optimizer, the schedule and sharding."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.strategies import ModelParallelStrategy
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from typing_extensions import Self

from sru_apps.train.errors import UserError
from sru_apps.train.export import export_model
from sru_apps.train.optimizers import LearningRate, OptimizerConfig, build_optimizer
from sru_data.tokenizers import Tokenizer

_ANY_SIZE = 1000
"""A size that is large enough for a vocabulary or any other size."""


class TaskModule(LightningModule):
    """The training of a task's network.

    Args:
        config: The configuration that builds the network, or its `dataclasses.asdict`.
        optimizer: The optimizer and its schedule, or the same as a dictionary.
        facts: Further arguments of the derived class, to be saved in checkpoints.
    """

    config_class: ClassVar[Any]
    """A dataclass; its fields without a default are determined by the data."""
    network_class: ClassVar[Any]
    """Builds the network from a configuration."""
    shardable: ClassVar[bool] = True
    """Whether processes can share the weights, as with the strategy fsdp."""
    sharded_methods: ClassVar[tuple[str, ...]] = ()
    """Methods of the network that use its parameters and are called instead of `forward`."""
    sizes_of_data: ClassVar[tuple[str, ...]] = ()
    """Fields of the configuration that are set by the data option of the same name."""
    shares: ClassVar[Mapping[str, str]] = {}
    """Figures that are shares, by name, and their names in messages."""
    points: ClassVar[Mapping[str, str]] = {}
    """The same for figures from 0 to 100."""
    exported: Mapping[str, Any] = {}
    """Entries of an exported `config.json` besides the task and the configuration."""
    network: Any

    def __init__(
        self, config: Any, optimizer: OptimizerConfig | Mapping[str, Any] | None = None, **facts: Any
    ) -> None:
        super().__init__()
        self.config = config if isinstance(config, self.config_class) else self.config_class(**config)
        self.optimizer = OptimizerConfig.of(optimizer or {})
        hyper_parameters = {"config": asdict(self.config), "optimizer": asdict(self.optimizer), **facts}
        self.save_hyperparameters(hyper_parameters, logger=False)

    @classmethod
    @abstractmethod
    def build(cls, data: Any, options: Mapping[str, Any], optimizer: OptimizerConfig) -> Self:
        """Build the module for data that have been set up.

        Args:
            data: The task's data.
            options: The options `--model.*`.
            optimizer: The options `--optimizer.*`.
        """

    @classmethod
    def any_sizes(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return placeholder values for what the data determines, to check the options before there is data.

        Args:
            options: The options `--model.*`.
        """
        return {
            item.name: _ANY_SIZE
            for item in fields(cls.config_class)
            if item.default is MISSING and item.default_factory is MISSING
        }

    @classmethod
    def from_checkpoint(cls, hyper_parameters: Mapping[str, Any]) -> Self:
        """Build the module from a checkpoint's hyper-parameters, possibly of an earlier version."""
        return cls(**hyper_parameters)

    def start(self, data: Any) -> None:
        """Prepare the weights of a new run before its first step; not called if they are loaded."""

    def relearned(self, former: Any) -> tuple[str, tuple[str, ...]]:
        """Name the weights that must be relearned when training starts from another model.

        Args:
            former: That model, as the task's `predictor`.

        Returns:
            The reason, and the prefixes of the weights that are not copied even if their shape fits.
        """
        return "", ()

    @property
    def stage(self) -> str:
        """The part of the data that is being measured: `validation` or `test`."""
        return "test" if self.trainer.testing else "validation"

    def log_figures(self, figures: Mapping[str, float]) -> None:
        """Log the figures of the part that has been measured; all processes log the same.

        Args:
            figures: The figures by name; those among `shares` and `points` are shown next to the
                progress bar.
        """
        shown = {**self.shares, **self.points}
        for name, value in figures.items():
            # The loggers get one row per epoch from `History`.
            self.log(f"{self.stage}_{name}", value, logger=False, prog_bar=name in shown, sync_dist=True)

    def describe(self, figures: Mapping[str, float]) -> str:
        """Format figures: `accuracy 82.51 %, loss 0.4405`."""
        found = [
            f"{words} {100 * figures[name]:.2f} %" for name, words in self.shares.items() if name in figures
        ]
        found += [f"{words} {figures[name]:.2f}" for name, words in self.points.items() if name in figures]
        return ", ".join([*found, f"loss {figures['loss']:.4f}"])

    def export(self, folder: Path, tokenizer: Tokenizer, *, task: str) -> None:
        """Write the network and everything needed to use it to a folder."""
        config = {"task": task, **self.exported, "model": asdict(self.config)}
        export_model(folder, self.network, config, tokenizer)

    def summary(self, figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Return the task's entries of `summary.json`: the shares and points of each part."""
        return {
            f"{part}_{name}": value
            for part, values in figures.items()
            for name, value in values.items()
            if name in self.shares or name in self.points
        }

    def configure_model(self) -> None:
        """Shard the weights, if the strategy requires it."""
        if self.device_mesh is not None:
            shard(self.network, self.device_mesh, methods=self.sharded_methods)

    def on_train_epoch_start(self) -> None:
        """Set the learning rate of the epoch, if the schedule is by epochs."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, LearningRate):
            scheduler.begin_epoch(self.current_epoch + 1)

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
        # Lightning sets the attribute without declaring it.
        trainer, data = self.trainer, getattr(self.trainer, "datamodule", None)
        if data is None:
            return int(trainer.estimated_stepping_batches)
        # Lightning's estimate would set up its loader here and later not restore its position.
        batches = len(data.train_dataloader())
        steps = math.ceil(batches / trainer.accumulate_grad_batches) * (trainer.max_epochs or 1)
        return min(steps, trainer.max_steps) if trainer.max_steps > 0 else steps


def count_parameters(module: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


SHARDS_ON_CPU = hasattr(torch.cpu.Stream, "record_event")
"""Whether `fully_shard` works on the CPU; it does not in torch 2.6."""


def sharded_strategy(devices: object, num_nodes: int) -> ModelParallelStrategy:
    """Build the strategy `--trainer.strategy fsdp`: PyTorch's `fully_shard` (FSDP2) over all processes.

    Unlike Lightning's strategy of this name, it needs no GPU and clips gradients by their norm. Its
    checkpoints are not sharded, so everything else can read them like those of one process.

    Args:
        devices: Devices of each machine.
        num_nodes: Machines.

    Returns:
        The strategy.

    Raises:
        UserError: The number of devices is unknown.
    """
    if not str(devices).isdecimal():
        raise UserError(
            f"the strategy fsdp needs the number of devices, got {devices!r}; "
            "give --trainer.devices 2, for example"
        )
    processes = int(str(devices)) * num_nodes
    return ModelParallelStrategy(
        data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
    )


def shard(network: nn.Module, mesh: DeviceMesh, *, methods: tuple[str, ...] = ()) -> None:
    """Shard the parameters of a network in place, once.

    Args:
        network: The network.
        mesh: The processes, with an axis `data_parallel`.
        methods: Methods that use the parameters and are called instead of `forward`.

    Raises:
        UserError: The processes are on the CPU and this version of torch cannot do that.
    """
    if mesh.device_type == "cpu" and not SHARDS_ON_CPU:
        raise UserError(
            f"the strategy fsdp needs GPUs in torch {torch.__version__}, got CPUs; "
            "give --trainer.strategy ddp, or install a newer torch"
        )
    # Imported here because it takes a while, and most runs do not need it.
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    if isinstance(network, FSDPModule):
        return
    fully_shard(network, mesh=mesh["data_parallel"])
    for name in methods:
        register_fsdp_forward_method(network, name)
