"""Checks of options that need no data; they run before data is read, downloaded or prepared."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Trainer

from sru_apps.train.errors import UserError, building, clip
from sru_apps.train.module import TaskModule, sharded_strategy
from sru_apps.train.optimizers import OptimizerConfig
from sru_apps.train.weights import plan

_NAMES = (
    *("accelerator", "strategy", "devices", "num_nodes", "precision", "profiler"),
    *(
        "gradient_clip_val",
        "gradient_clip_algorithm",
        "deterministic",
        "benchmark",
        "accumulate_grad_batches",
    ),
)
"""Options of the trainer that its constructor checks."""


def check_choices(module_class: type[TaskModule], options: Mapping[str, Mapping[str, Any]]) -> None:
    """Check the options that do not depend on the data.

    Args:
        module_class: The class of the module to train.
        options: The groups `optimizer`, `model` and `trainer`.

    Raises:
        UserError: An option is refused.
    """
    with building(TypeError):
        average = OptimizerConfig.of(options["optimizer"]).average
        check_model(module_class, options["model"])
        check_trainer(options["trainer"])
    if options["trainer"]["strategy"] != "fsdp":
        return
    if not module_class.shardable:
        raise UserError("the strategy fsdp is not supported for this task; give --trainer.strategy ddp")
    if average is not None:
        raise UserError("--optimizer.average needs whole weights, which fsdp shards; leave one of them out")


def check_model(module_class: type[TaskModule], options: Mapping[str, Any]) -> None:
    """Configure the network that the options describe, for data of any size.

    Raises:
        ValueError: An option is out of its range, belongs to another encoder, or excludes another one.
    """
    sizes = module_class.any_sizes(options)
    plan(lambda: module_class.network_class(module_class.config_class(**sizes, **options)))


def check_trainer(options: Mapping[str, Any]) -> None:
    """Build a trainer, which refuses unknown names and missing devices.

    Raises:
        UserError, MisconfigurationException, TypeError, ValueError: The trainer refuses an option.
    """
    chosen = {name: options[name] for name in _NAMES}
    if chosen["strategy"] == "fsdp":
        chosen["strategy"] = sharded_strategy(chosen["devices"], chosen["num_nodes"])
    try:
        with warnings.catch_warnings():
            # The trainer built for training prints the same.
            warnings.simplefilter("ignore")
            Trainer(
                **chosen,
                logger=False,
                enable_checkpointing=False,
                enable_model_summary=False,
                enable_progress_bar=False,
            )
    except (TypeError, MisconfigurationException) as error:
        if "devices" in str(error):
            raise UserError(
                "--trainer.devices must be a number of devices from 1, a list of GPUs such as [0, 1], or "
                f"auto, got {clip(str(options['devices']), 40)}"
            ) from error
        if "backend found" in str(error):
            name = clip(str(options["accelerator"]), 40)
            raise UserError(
                f"no {name} that torch can use was found; give --accelerator cpu, or auto"
            ) from error
        raise
