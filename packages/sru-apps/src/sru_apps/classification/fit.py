"""`sru classify fit`."""

from __future__ import annotations

from collections.abc import Sequence

from sru_apps.classification.fit_cli import ClassifyFitCLI
from sru_apps.training.errors import shows_errors
from sru_apps.training.fit import run_fit


@shows_errors("sru classify fit")
def main(args: Sequence[str]) -> int:
    """Train, test the best checkpoint, export it, and print the summary.

    Args:
        args: The command line after `sru classify fit`.

    Returns:
        The exit status; 130 after Ctrl-C.
    """
    return run_fit(ClassifyFitCLI, args)
