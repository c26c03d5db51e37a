"""Command-line parsers whose errors name the valid options."""

from __future__ import annotations

import re
import sys
from argparse import Action
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from jsonargparse import SUPPRESS, ArgumentParser, set_parsing_settings

# The help of an option is the docstring under its field.
set_parsing_settings(docstring_parse_attribute_docstrings=True)


class OptionParser(ArgumentParser):
    """Adds the closest valid option and a list of all to the error about an unknown one.

    Args:
        missing: What to say instead of the error about a missing required option.
    """

    def __init__(self, *args: Any, missing: str = "", **kwargs: Any) -> None:
        # An abbreviation would change its meaning with the next option that begins alike.
        super().__init__(*args, allow_abbrev=False, **kwargs)
        self._missing = missing

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report a wrong command line and exit with status 2."""
        if self._missing and "required" in message:
            message = self._missing
        unknown = re.search(r"(?<!\S)(--?[\w.+-]+)", message) if "nrecognized" in message else None
        if unknown:
            options = [option for action in self._actions for option in _options(action)]
            message = f"unknown option {unknown[1]}.{_near(unknown[1], options)} {_list(options)}"
        message = _plain(" ".join(message.split()))
        print(f"{self.prog}: error: {message}\n`{self.prog} --help` lists the options.", file=sys.stderr)
        raise SystemExit(2)


def _plain(message: str) -> str:
    """Say in a sentence what jsonargparse says of a value in terms of Python's types."""
    union = re.fullmatch(
        r'Parser key "([^"]+)": Does not validate against any of the Union subtypes Subtypes: .*? '
        r"Errors: - (.*) Given value type: .*? Given value: (.*)",
        message,
    )
    if number := re.fullmatch(
        r'Parser key "([^"]+)": Not of type \w+: (.*) does not conform to restriction v(\W+)(.+)', message
    ):
        return f"{number[1]}: expected a number {number[3]} {number[4]}, got {number[2]}"
    if text := re.fullmatch(r'Parser key "([^"]+)": (Not of type \w+: .*: \'(.*)\')', message):
        return f"{text[1]}: expected {_kind(text[2])}, got {text[3]}"
    found = union or re.fullmatch(r'Parser key "([^"]+)": (.*)\. Got value: (.*)', message)
    if not found:
        return message
    wanted = [_kind(error) for error in found[2].split(" - ") if "NoneType" not in error]
    return f"{found[1]}: expected {' or '.join(wanted)}, got {found[3]}"


def _kind(error: str) -> str:
    error = re.sub(r"^Not of type \w+: does not conform to restriction v(\W+)(.+)$", r"a number \1 \2", error)
    error = re.sub(r"^Not of type \w+: .* int\(\) .*$", "a whole number", error)
    error = re.sub(r"^Not of type \w+: could not convert .*$", "a number", error)
    error = re.sub(r"^Expected a typing\.Literal\[(.*)\]$", r"one of \1", error)
    error = re.sub(r"^Expected a <class '(.*)'>$", r"a value of type \1", error)
    return error.removeprefix("Expected ")


def _options(action: Action) -> list[str]:
    # jsonargparse lists links between options and the help of types among the options.
    if action.help == SUPPRESS:
        return []
    return [name for name in action.option_strings if name.startswith("-") and not name.endswith(".help")]


def _near(unknown: str, options: Sequence[str]) -> str:
    """Suggest an option of the same group: where `--model.x` is unknown, one that begins with `--model.`."""
    group, _, last = unknown.rpartition(".")
    same = {name.rpartition(".")[2]: name for name in options if name.rpartition(".")[0] == group}
    near = get_close_matches(last, same, n=1)
    # The group left out, or misspelt.
    moved = [name for name in options if "." in name and name.endswith(f".{last.lstrip('-')}")]
    found = [*moved, *(same[name] for name in near)]
    return f" Did you mean {found[0]!r}?" if found else ""


def _list(options: Sequence[str]) -> str:
    groups: dict[str, list[str]] = {}
    for name in options:
        group, _, last = name.rpartition(".")
        groups.setdefault(group, []).append(last)
    alone = groups.pop("", [])
    # `--model` itself, which reads a file, is understood where `--model.{...}` is listed.
    shown = [name for name in alone if name not in groups]
    shown += [f"{group}.{{{','.join(names)}}}" for group, names in groups.items()]
    return f"Valid options: {', '.join(shown)}"


def add_options(parser: Any, options: Sequence[tuple[str, Any, Any, str]]) -> None:
    """Add rows of (option, type, default, help) to a parser."""
    for option, kind, default, text in options:
        parser.add_argument(option, type=kind, default=default, help=text)
