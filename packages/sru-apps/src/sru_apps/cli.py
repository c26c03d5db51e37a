"""The `sru` command: one row per task."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sru_apps import __version__
from sru_apps.task import Command, run_command

TASKS = {
    "classify": Command("sentence classification: SRU, LSTM, GRU or CNN", "sru_apps.tasks.classify:TASK"),
    "lm": Command("language modelling: train, evaluate, generate, score", "sru_apps.tasks.lm:TASK"),
    "chat": Command("a small model that answers, trained on your dialogues", "sru_apps.tasks.chat:TASK"),
    "demo": Command(
        "train a small character language model, with no data set to download",
        "sru_apps.tasks.demo.commands:demo",
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
