"""A table of commands, run by name and imported only when chosen, so that help never waits for torch."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Command(NamedTuple):
    """One row of a table of commands.

    Args:
        help: One line for the list of commands.
        target: `"module:function"`; the function takes the remaining arguments and returns an exit status.
    """

    help: str
    target: str

    def load(self) -> Callable[[Sequence[str]], int]:
        """Import the module and return the function."""
        module, _, function = self.target.partition(":")
        return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]


def closest(word: str, known: Sequence[str]) -> str:
    """Name the known word that resembles `word`: `" Did you mean 'x'?"`, or nothing."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def run_command(prog: str, description: str, commands: Mapping[str, Command], args: Sequence[str]) -> int:
    """Run the command that the first argument names.

    Args:
        prog: What the user typed so far, such as `"sru classify"`.
        description: One or two lines above the list of commands.
        commands: The table.
        args: The arguments after `prog`.

    Returns:
        The exit status: 2 when the command is missing or unknown.
    """
    name = args[0] if args else None
    if name in ("-h", "--help"):
        print(command_help(prog, description, commands))
        return 0
    if name is None or name not in commands:
        problem = "a command is missing." if name is None else f"unknown command {name!r}."
        problem += closest(name or "", list(commands))
        print(f"{prog}: {problem} Valid commands: {', '.join(commands)}.", file=sys.stderr)
        return 2
    return commands[name].load()(args[1:])


def command_help(prog: str, description: str, commands: Mapping[str, Command]) -> str:
    """Format what `prog --help` prints."""
    width = max(map(len, commands))
    rows = [f"  {name:<{width}}  {command.help}" for name, command in commands.items()]
    return "\n".join(
        [
            f"usage: {prog} COMMAND ...",
            "",
            description,
            "",
            "commands:",
            *rows,
            "",
            f"`{prog} COMMAND --help` tells more.",
        ]
    )
