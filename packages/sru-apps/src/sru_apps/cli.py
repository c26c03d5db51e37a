"""The `sru` command: one row per task."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from sru_apps import __version__
from sru_apps.task import Command, run_command
from sru_apps.train.errors import is_text

TASKS = {
    "classify": Command(
        "sentence classification, on your own files or published sets", "sru_apps.tasks.classify:TASK"
    ),
    "lm": Command("language modelling: train, evaluate, generate, score", "sru_apps.tasks.lm:TASK"),
    "squad": Command(
        "reading comprehension: find the answer to a question in a passage", "sru_apps.tasks.squad:TASK"
    ),
    "chat": Command("a small model that answers, trained on your dialogues", "sru_apps.tasks.chat:TASK"),
    "demo": Command(
        "train a small character language model, with no data set to download",
        "sru_apps.tasks.demo.commands:demo",
    ),
}

DESCRIPTION = (
    "Train, test and use fast recurrent networks, on published tasks and on your own texts.\n"
    "Start with: sru demo, or sru classify fit --help"
)


def main(args: Sequence[str] | None = None) -> int:
    """Run `sru`.

    Args:
        args: The command line after `sru`; `sys.argv` by default.

    Returns:
        The exit status: 0, 1 after an error, 2 after a wrong command line, 130 after Ctrl-C, and 141 where
        nobody reads the output any more, as a shell reports it of other programs.
    """
    if args is None:
        # This process is the command's own; looking for garbage among a million imported objects takes a
        # fifth of a second. `run_command` sets them aside and begins to collect.
        gc.disable()
    args = list(sys.argv[1:] if args is None else args)
    try:
        try:
            return _run(args)
        finally:
            print(end="", flush=True)
    except KeyboardInterrupt:
        print("sru: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Python would complain once more when it flushes at the end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        return 141


def _run(args: list[str]) -> int:
    if args[:1] == ["--version"]:
        print(f"sru-apps {__version__}")
        return 0
    for number, arg in enumerate(args, 1):
        if not is_text(arg):
            print(f"sru: argument {number} is not UTF-8, or holds a NUL: {arg[:200]!a}", file=sys.stderr)
            return 2
    return run_command("sru", DESCRIPTION, TASKS, args)
