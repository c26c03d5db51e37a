"""The `sru` command: one row a task."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sru_apps import __version__
from sru_apps.commands import Command, run_command

TASKS = {
    "classify": Command("sentence classification: SRU, LSTM, GRU or CNN", "sru_apps.classification.cli:main"),
    "lm": Command(
        "language modelling: train, evaluate, generate, score", "sru_apps.language_modelling.cli:main"
    ),
    "chat": Command("a small model that answers, learnt from your dialogues", "sru_apps.chat.cli:main"),
    "demo": Command(
        "train a small character language model, with no data set to fetch", "sru_apps.demo:main"
    ),
}

DESCRIPTION = "Train, test and use fast recurrent networks on published tasks."


def main(args: Sequence[str] | None = None) -> int:
    """Run `sru`.

    Args:
        args: The command line after `sru`; `sys.argv` by default.

    Returns:
        The exit status: 0, 1 after an error, 2 after a wrong command line, 130 after Ctrl-C.
    """
    args = sys.argv[1:] if args is None else args
    if list(args[:1]) == ["--version"]:
        print(f"sru-apps {__version__}")
        return 0
    try:
        return run_command("sru", DESCRIPTION, TASKS, args)
    except KeyboardInterrupt:
        print("sru: interrupted", file=sys.stderr)
        return 130
