"""How long a training may be, and how many devices it may use."""

from __future__ import annotations

import os

from jsonargparse import Namespace

from sru_apps.train.errors import UserError, clip

_PROCESSES_PER_CORE = 4


def take_from_torchrun(trainer: Namespace) -> None:
    """Use as many devices and machines as torchrun has started processes for.

    Args:
        trainer: The options `--trainer.*`, which are changed under torchrun only.
    """
    if local := int(os.environ.get("LOCAL_WORLD_SIZE", 0)):
        trainer.devices = local
        trainer.num_nodes = int(os.environ["WORLD_SIZE"]) // local


def check_limits(trainer: Namespace) -> None:
    """Refuse a training of no steps, and more processes than this machine can hold.

    Args:
        trainer: The options `--trainer.*`.

    Raises:
        UserError: There is no epoch or no step, or there are more than four processes for each processor.
    """
    if trainer.max_epochs is None or trainer.max_epochs < 1:
        raise UserError(f"--trainer.max_epochs must be at least 1, got {trainer.max_epochs}")
    if trainer.max_steps == 0:
        raise UserError("--trainer.max_steps must be at least 1, or -1 for no limit, got 0")
    # Not every system can tell which of its processors are ours.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices, most = trainer.devices, _PROCESSES_PER_CORE * cores
    count = len(devices) if isinstance(devices, list) else devices
    if str(count).isdecimal() and int(count) > most:
        raise UserError(
            f"--trainer.devices must be at most {most}, {_PROCESSES_PER_CORE} for each processor, got "
            f"{clip(str(count), 40)}"
        )
