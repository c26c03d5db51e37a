"""Limits on the length of training and the number of devices."""

from __future__ import annotations

import operator
import os
import re
from typing import Any

from jsonargparse import Namespace

from sru_apps.train.errors import UserError, clip

_PROCESSES_PER_CORE = 4
_UNITS = (86_400, 3600, 60, 1)
"""The seconds of a day, an hour, a minute and a second."""


def take_from_torchrun(trainer: Namespace) -> None:
    """Use as many devices and machines as torchrun has started processes for.

    Args:
        trainer: The options `--trainer.*`, which are changed under torchrun only.
    """
    if local := int(os.environ.get("LOCAL_WORLD_SIZE", 0)):
        trainer.devices = local
        trainer.num_nodes = int(os.environ["WORLD_SIZE"]) // local


def check_limits(trainer: Namespace) -> None:
    """Refuse a training run without steps, and more processes than this machine can run.

    Args:
        trainer: The options `--trainer.*`.

    Raises:
        UserError: `max_epochs`, `max_steps` or `max_time` allows no training, or there are more than four
            processes for each processor.
    """
    if trainer.max_epochs is None or trainer.max_epochs < 1:
        raise UserError(f"--trainer.max_epochs must be at least 1, got {trainer.max_epochs}")
    if trainer.max_steps == 0:
        raise UserError("--trainer.max_steps must be at least 1, or -1 for no limit, got 0")
    seconds_of(trainer.max_time)
    # Not every system can report which processors this process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices, most = trainer.devices, _PROCESSES_PER_CORE * cores
    count = len(devices) if isinstance(devices, list) else devices
    if str(count).isdecimal() and int(count) > most:
        raise UserError(
            f"--trainer.devices must be at most {most}, {_PROCESSES_PER_CORE} for each processor, got "
            f"{clip(str(count), 40)}"
        )


def limits_of(options: Namespace) -> dict[str, Any]:
    """Return the limits of a training run, as `ended_by` takes them.

    Args:
        options: The options of `fit`.
    """
    trainer = options.trainer
    return {
        "max_epochs": trainer.max_epochs,
        "max_steps": trainer.max_steps,
        "max_seconds": seconds_of(trainer.max_time),
        "patience": options.patience,
    }


def seconds_of(max_time: str | None) -> float | None:
    """Read the option `--trainer.max_time`.

    Args:
        max_time: Days, hours, minutes and seconds, DD:HH:MM:SS; None for no limit.

    Raises:
        UserError: It is malformed, or zero.
    """
    if max_time is None:
        return None
    found = re.fullmatch(r"(\d{1,4}):(\d\d):(\d\d):(\d\d)", max_time.strip())
    seconds = 0 if found is None else sum(map(operator.mul, map(int, found.groups()), _UNITS))
    if seconds == 0:
        raise UserError(
            f"--trainer.max_time must be DD:HH:MM:SS, such as 00:01:30:00 for 90 minutes, "
            f"got {clip(max_time, 40)!r}"
        )
    return seconds
