"""The figures of a trained module on a part of its data."""

from __future__ import annotations

from typing import Literal

from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import LightningDataModule, LightningModule, Trainer

from sru_apps.training.console import wants_progress_bar
from sru_apps.training.errors import building
from sru_apps.training.progress import EpochBar

Command = Literal["validate", "test"]
Stage = Literal["validation", "test"]
STAGES: dict[Command, Stage] = {"validate": "validation", "test": "test"}
"""What the part of the data that a command measures on is called."""


def measure(
    module: LightningModule, data: LightningDataModule, command: Command, *, accelerator: str
) -> dict[str, float]:
    """Measure a trained module, in this process alone.

    Args:
        module: With its weights.
        data: The data it was trained for.
        command: The part to use.
        accelerator: As Lightning names it.

    Returns:
        What the module logs, without the name of the part before it.

    Raises:
        UserError: When there is no such accelerator.
    """
    with building():
        trainer = Trainer(
            accelerator=accelerator,
            devices=1,
            # After training in several processes the others are gone, though the environment names them.
            plugins=[LightningEnvironment()],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[EpochBar()] if wants_progress_bar() else [],
            enable_progress_bar=wants_progress_bar(),
        )
    getattr(trainer, command)(module, data, verbose=False)
    prefix = f"{STAGES[command]}_"
    return {
        name.removeprefix(prefix): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith(prefix)
    }
