"""Errors that a user can act on, shown without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps


class UserError(Exception):
    """What was expected, what came, and the remedy: the whole message is for the user."""


def shows_errors(prog: str) -> Callable[[Callable[[Sequence[str]], int]], Callable[[Sequence[str]], int]]:
    """Decorate a command so that errors of the user, the data and the disk are one line and exit status 1."""

    def decorate(command: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
        @wraps(command)
        def run(args: Sequence[str]) -> int:
            from sru_data import DataError

            try:
                return command(args)
            except (UserError, DataError, OSError) as error:
                print(f"{prog}: error: {error}", file=sys.stderr)
                return 1

        return run

    return decorate


@contextmanager
def building() -> Iterator[None]:
    """Turn what options of wrong value make the block raise into a `UserError` with the same message.

    Raises:
        UserError: When data, model or trainer refuse a value, or it names what this machine lacks.
    """
    # Here, since Lightning takes seconds to import.
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    try:
        yield
    except (ValueError, ModuleNotFoundError, MisconfigurationException) as error:
        raise UserError(" ".join(str(error).split())) from error
