"""Command-line parsers whose errors name the valid options."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from jsonargparse import SUPPRESS, ArgumentParser
from pytorch_lightning.cli import LightningArgumentParser

from sru_apps.commands import closest


class _Suggesting(ArgumentParser):
    """Adds the closest valid option, or all of them, to the error about an unknown one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # An abbreviation would change its meaning with the next option that begins alike.
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report a wrong command line and exit with status 2."""
        unknown = re.search(r"(--[\w.+-]+)", message) if "nrecognized" in message else None
        if unknown:
            shown = (action for action in self._actions if action.help != SUPPRESS)
            options = sorted(option for action in shown for option in action.option_strings)
            near = closest(unknown[1], options)
            message = f"unknown option {unknown[1]}.{near or ' Valid options: ' + ', '.join(options)}"
        print(f"{self.prog}: error: {message}\n`{self.prog} --help` lists the options.", file=sys.stderr)
        raise SystemExit(2)


class OptionParser(_Suggesting):
    """For commands of a few options."""


class TrainerParser(_Suggesting, LightningArgumentParser):
    """For `LightningCLI`."""

    def instantiate_classes(self, cfg: Any, **kwargs: Any) -> Any:
        """Build the objects; Lightning still uses this name, which jsonargparse has deprecated."""
        return self.instantiate(cfg, **kwargs)


def peek(args: Sequence[str], option: str) -> str | None:
    """Read one option before the parser exists, since it decides about the parser's defaults.

    Args:
        args: The command line.
        option: The option, such as `--recipe`.

    Returns:
        Its last value, or None.
    """
    value = None
    for index, arg in enumerate(args):
        if arg == option and index + 1 < len(args):
            value = args[index + 1]
        elif arg.startswith(option + "="):
            value = arg[len(option) + 1 :]
    return value


def add_options(parser: Any, options: Sequence[tuple[str, Any, Any, str]]) -> None:
    """Add rows of (option, type, default, help) to a parser."""
    for option, kind, default, text in options:
        parser.add_argument(option, type=kind, default=default, help=text)
