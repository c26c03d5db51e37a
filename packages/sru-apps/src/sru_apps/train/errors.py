"""Errors and warnings that a user can act on, shown without a traceback or a source line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sru_data import DataError


def is_text(value: str) -> bool:
    """Whether a string can be written to a file and used as a file name: UTF-8 without NUL."""
    return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)


def clip(text: str, most: int = 2000) -> str:
    """Truncate a text that is too long for a terminal."""
    return text if len(text) <= most else f"{text[:most]} ..."


class UserError(Exception):
    """An error whose message is for the user: what was expected, what was found, and the remedy.

    Args:
        message: The message.
        status: The exit status of the command: 2 if the command line is wrong.
    """

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class MisfitError(ValueError):
    """A problem with the content of a file; the message makes sense without the exception's name."""


@contextmanager
def plain_warnings(prog: str) -> Iterator[None]:
    """Show warnings to the user (`UserWarning`) in one line, without a source line."""
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
def building(*more: type[Exception]) -> Iterator[None]:
    """Turn the errors that wrong option values cause in the block into a `UserError` with the same message.

    Args:
        more: Further exceptions to turn into a `UserError`.

    Raises:
        UserError: The data, model or trainer refuses a value, or it names something this machine lacks.
    """
    try:
        yield
    except Exception as error:
        # Lightning takes seconds to import; if nothing has imported it, it cannot raise.
        lightning = sys.modules.get("lightning_fabric.utilities.exceptions")
        others = more if lightning is None else (*more, lightning.MisconfigurationException)
        if not isinstance(error, (ValueError, OverflowError, ModuleNotFoundError, *others)):
            raise
        raise UserError(" ".join(str(error).split())) from error


@contextmanager
def reading(path: Path, *, kind: str = "a checkpoint") -> Iterator[None]:
    """Turn errors caused by wrong content in the block into a `UserError` that names the file.

    Args:
        path: The file, or the folder of files.
        kind: What it should be.

    Raises:
        UserError: The content is wrong in any way.
    """
    try:
        yield
    except (UserError, DataError, OSError):
        raise
    except Exception as error:
        name = "" if isinstance(error, MisfitError) else f"{type(error).__name__}: "
        reason = clip(" ".join(f"{name}{error}".split()), 200)
        raise UserError(f"{path} is damaged or is not {kind}: {reason}") from error
