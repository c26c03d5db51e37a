"""Prepared data that is read without its source files, so that its options are already settled."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from sru_apps.train.data import TaskData
from sru_apps.train.errors import UserError, clip


def check_settled(data: TaskData, folder: Path, settled: Mapping[str, Any]) -> None:
    """Refuse options that differ from those that a folder was prepared with, except defaults.

    Args:
        data: The data that reads the folder.
        folder: The folder of prepared data, given without source files.
        settled: The values that it was prepared with, by the options `--data.*`.

    Raises:
        UserError: An option has another value.
    """
    usual = signature(type(data)).parameters
    for option, value in settled.items():
        given = data.hparams[option]
        if given not in (usual[option].default, value):
            how = f"without --data.{option}" if value is None else f"with --data.{option} {value}"
            raise UserError(
                f"{folder} was prepared {how}, got {clip(str(given), 80)}; leave the option out, or prepare "
                "the data with it"
            )
