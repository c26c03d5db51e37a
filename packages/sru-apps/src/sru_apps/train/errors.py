"""Errors and warnings that a user can act on, shown without a traceback or a line of source."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class UserError(Exception):
    """What was expected, what came, and the remedy: the whole message is for the user."""


def shows_errors(prog: str, command: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
    """Make a command print errors of the user, the data and the disk in one line and return 1.

    Warnings to the user (`UserWarning`) are one line too.
    """

    def run(args: Sequence[str]) -> int:
        from sru_data import DataError

        try:
            with _plain_warnings(prog):
                return command(args)
        except (UserError, DataError, OSError) as error:
            print(f"{prog}: error: {error}", file=sys.stderr)
            return 1

    return run


@contextmanager
def _plain_warnings(prog: str) -> Iterator[None]:
    with_place = warnings.formatwarning

    def format_warning(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category is UserWarning:
            return f"{prog}: warning: {message}\n"
        return with_place(message, category, filename, lineno, line)

    warnings.formatwarning = format_warning
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
