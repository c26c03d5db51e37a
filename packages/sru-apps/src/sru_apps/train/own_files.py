"""The user's own files, as `--data.train_file` and its like name them."""

from __future__ import annotations

from pathlib import Path

Files = list[str] | str
"""A path, a pattern such as `mail/*.csv`, or several of them."""


def name_of_files(files: Files) -> str:
    """Name data after their first file, or after its folder where that is a pattern.

    Args:
        files: The files.
    """
    path = Path(files if isinstance(files, str) else next(iter(files), ""))
    while any(letter in path.name for letter in "*?["):
        path = path.parent
    return path.name.lstrip(".").split(".")[0] or "files"


def first_of_files(files: Files) -> str:
    """Return the file that messages name.

    Args:
        files: The files.
    """
    return files if isinstance(files, str) else next(iter(files), "")
