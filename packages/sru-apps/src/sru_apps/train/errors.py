"""Errors and warnings that a user can act on, shown without a traceback or a line of source."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from sru_data import DataError


class UserError(Exception):
    """What was expected, what came, and the remedy: the whole message is for the user."""


@contextmanager
def plain_warnings(prog: str) -> Iterator[None]:
    """Show warnings to the user (`UserWarning`) in one line, without a line of source."""
    with_place = warnings.formatwarning

    def format_warning(message: Warning | str, category: type[Warning], *place: Any) -> str:
        plain = category is UserWarning
        return f"{prog}: warning: {message}\n" if plain else with_place(message, category, *place)

    warnings.formatwarning = format_warning  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.formatwarning = with_place


@contextmanager
def building() -> Iterator[None]:
    """Turn the errors that wrong option values cause in the block into a `UserError` with the same message.

    Raises:
        UserError: Data, model or trainer refuse a value, or it names something this machine lacks.
    """
    # Here, since Lightning takes seconds to import.
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    try:
        yield
    except (ValueError, ModuleNotFoundError, MisconfigurationException) as error:
        raise UserError(" ".join(str(error).split())) from error


@contextmanager
def reading(path: Path, *, kind: str = "a checkpoint") -> Iterator[None]:
    """Turn the errors that wrong content causes in the block into a `UserError` that names the file.

    Args:
        path: The file, or the folder of files.
        kind: What it should be.

    Raises:
        UserError: The content is wrong in any way.
    """
    try:
        yield
    except (UserError, DataError):
        raise
    except Exception as error:
        reason = shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")
        raise UserError(f"{path} is damaged or is not {kind}: {reason}") from error
