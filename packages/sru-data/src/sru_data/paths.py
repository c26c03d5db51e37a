"""Files named one by one or by a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from sru_data.errors import DataError


def matching_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the files: each given path, and the sorted matches of each pattern.

    Args:
        paths: A path, a pattern as in `glob` (`parts/*.txt`; `**` for any folders), or several. A path
            that is not a pattern is returned as it is, whether or not it exists.

    Raises:
        DataError: A pattern matches nothing.
    """
    given = [paths] if isinstance(paths, (str, Path)) else paths
    return [file for path in given for file in _matches(path)]


def _matches(path: str | Path) -> list[Path]:
    if not glob.has_magic(os.fspath(path)) or os.path.lexists(path):
        return [Path(path)]
    try:
        found = sorted(glob.glob(os.fspath(path), recursive=True))
    except ValueError:  # A NUL byte.
        found = []
    if not found:
        raise DataError.at(path, None, "expected files whose names match this pattern, got none")
    return list(map(Path, found))
