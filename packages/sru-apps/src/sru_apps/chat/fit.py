"""`sru chat fit`."""

from __future__ import annotations

from collections.abc import Sequence

from sru_apps.chat.fit_cli import ChatFitCLI
from sru_apps.training.errors import shows_errors
from sru_apps.training.fit import run_fit


@shows_errors("sru chat fit")
def main(args: Sequence[str]) -> int:
    """Train, export the best checkpoint, and print the summary.

    Args:
        args: The command line after `sru chat fit`.

    Returns:
        The exit status; 130 after Ctrl-C.
    """
    return run_fit(ChatFitCLI, args)
