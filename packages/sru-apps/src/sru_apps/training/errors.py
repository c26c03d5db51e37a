"""Errors that a user can act on, shown without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
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
