"""The user's own files, as named by `--data.train_file` and similar options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sru_apps.train.errors import UserError

Files = list[str] | str
"""A path, a pattern such as `mail/*.csv`, or several of them."""


def check_files(options: Mapping[str, Any]) -> None:
    """Refuse options that name no file, such as `--data.test_file []`.

    Args:
        options: The options `--data.*`.

    Raises:
        UserError: One is an empty list or an empty text.
    """
    for option, files in options.items():
        if option.endswith("_file") and files in ([], ""):
            got = "an empty text" if files == "" else "an empty list"
            raise UserError(f"--data.{option} must name a file, got {got}; name one or leave it out")


def name_of_files(files: Files) -> str:
    """Name data after its first file, or after its folder if that is a pattern.

    Args:
        files: The files.
    """
    path = Path(files if isinstance(files, str) else next(iter(files), ""))
    while any(letter in path.name for letter in "*?["):
        path = path.parent
    return path.name.lstrip(".").split(".")[0] or "files"


def first_of_files(files: Files) -> str:
    """Return the file to name in messages.

    Args:
        files: The files.
    """
    return files if isinstance(files, str) else next(iter(files), "")
