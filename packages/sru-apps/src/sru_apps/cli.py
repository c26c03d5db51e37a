"""The `sru` command: runs the command that the command line names, and reports errors in one line."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence

from sru_apps import __version__
from sru_apps.task import GENERIC, Command, Task, closest, load
from sru_apps.tasks import TASKS
from sru_apps.train.errors import UserError, clip, is_text, plain_warnings
from sru_data import DataError

DESCRIPTION = (
    "Train, test and use fast recurrent networks, on published tasks and on your own texts.\n"
    "Start with: sru demo, or sru classify fit --help"
)


def main(args: Sequence[str] | None = None) -> int:
    """Run `sru`.

    Args:
        args: The command line after `sru`; `sys.argv` by default.

    Returns:
        The exit status: 0, 1 after an error, 2 after a wrong command line, 130 after Ctrl-C, and 141 if the
        reader of the output has gone away, as shells report for other programs.
    """
    if args is None:
        # The process runs only this command. Garbage collection over a million imported objects takes a fifth
        # of a second; `run_command` freezes them and enables collection.
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
        # Otherwise Python would report the error again when it flushes at exit.
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


def run_command(
    prog: str,
    description: str,
    commands: Mapping[str, Command],
    args: Sequence[str],
    task: Task | None = None,
) -> int:
    """Run the command that the first argument names.

    Args:
        prog: What the user has typed so far, such as `"sru classify"`.
        description: One or two lines above the list of commands.
        commands: The table.
        args: The arguments after `prog`.
        task: What the commands get as their first argument, if anything.

    Returns:
        The exit status: 1 after an error that the user can act on, 2 when the command line is wrong.

    Raises:
        BrokenPipeError: The reader of the output has gone away.
    """
    name = args[0] if args else None
    if name in ("-h", "--help"):
        print(command_help(prog, description, commands))
        return 0
    if name is None or name not in commands:
        problem = "a command is missing." if name is None else f"unknown command {name!r}."
        if name in GENERIC and prog == "sru":
            problem += f" Name the task first: sru {next(iter(commands))} {name}."
        problem += closest(name or "", list(commands))
        print(f"{prog}: {problem} Valid commands: {', '.join(commands)}.", file=sys.stderr)
        return 2
    prog, rest = f"{prog} {name}", args[1:]
    wants_help = [arg for arg in rest if arg in ("-h", "--help", "--help-all")]
    if wants_help and (page := help_page(prog, commands[name], task, "--help-all" in wants_help)):
        print(page)
        return 0
    if commands[name].target.startswith("sru_apps.") and not commands[name].is_task:
        # Checked before importing the command, which takes seconds.
        from sru_apps.train.help import check_names

        check_names(prog, commands[name], task, rest)
    command = commands[name].load()
    if isinstance(command, Task):
        return run_command(prog, command.description, command.table(), rest, command)
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    rest = ["--help" if arg == "--help-all" else arg for arg in rest]
    try:
        with plain_warnings(prog):
            return command(rest) if task is None else command(task, rest)
    except BrokenPipeError:
        raise
    except (UserError, DataError, OSError) as error:
        most = 400 if isinstance(error, OSError) else 2000  # the system's message repeats the path
        print(f"{prog}: error: {clip(' '.join(str(error).split()), most)}", file=sys.stderr)
        return getattr(error, "status", 1)


def help_page(prog: str, command: Command, task: Task | None, every: bool) -> str | None:
    """Return the help of a command, if it can be known without importing the command."""
    if command.page:
        return load(command.page)(prog, task, every)  # type: ignore[no-any-return]
    if command.is_task:
        return None
    # Imported here because only help needs it.
    from sru_apps.train.help import own

    return own(prog, command.target, task)


def command_help(prog: str, description: str, commands: Mapping[str, Command]) -> str:
    """Format what `prog --help` prints."""
    width = max(map(len, commands))
    rows = [f"  {name:<{width}}  {command.help}" for name, command in commands.items()]
    usage = [f"usage: {prog} COMMAND ...", "", description, "", "commands:"]
    return "\n".join([*usage, *rows, "", f"`{prog} COMMAND --help` shows its options."])
