"""`sru lm fit`."""

from __future__ import annotations

from collections.abc import Sequence

from sru_apps.language_modelling.fit_cli import LanguageModelFitCLI
from sru_apps.training.errors import shows_errors
from sru_apps.training.fit import run_fit


@shows_errors("sru lm fit")
def main(args: Sequence[str]) -> int:
    """Train, test the best checkpoint, export it, and print the summary.

    Args:
        args: The command line after `sru lm fit`.

    Returns:
        The exit status; 130 after Ctrl-C.
    """
    return run_fit(LanguageModelFitCLI, args)
