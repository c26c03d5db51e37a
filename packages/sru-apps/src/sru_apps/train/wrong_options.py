"""What is said of a wrong command line: which options there are, and which values they take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from jsonargparse import SUPPRESS, ArgumentParser

from sru_apps.train.errors import clip

_VALUE = (
    r"Does not validate against any of the Union subtypes Subtypes: .*? Errors: - (?P<errors>.*) "
    r"Given value type: .*? Given value: (?P<value>.*)",
    r"(?P<errors>Not of type \w+: (?P<value>.*) does not conform to restriction v.+)",
    r"(?P<errors>Not of type \w+: .*: '(?P<value>.*)')",
    r"(?P<errors>.*)\. Got value: (?P<value>.*)",
)
"""What jsonargparse says of a wrong value, in terms of Python's types."""
_KINDS = {
    r"^Not of type \w+: (?:.* )?does not conform to restriction ": "a number ",
    r"\bv([<>=]+)": r"\1 ",
    r"^Not of type \w+: .* int\(\) .*$": "a whole number",
    r"^Not of type \w+: could not convert .*$": "a number",
    r"^Expected a typing\.Literal\[(.*)\]$": r"one of \1",
    r"^Expected a <class '(.*)'>$": r"a value of type \1",
    r"^Expected ": "",
}
"""What it expects, and the same in plain words."""


def plain(message: str) -> str:
    """Put in plain words what jsonargparse says of a value."""
    for form in _VALUE:
        if found := re.fullmatch(rf'Parser key "(?P<key>[^"]+)": {form}', message):
            wanted = [_kind(error) for error in found["errors"].split(" - ") if "NoneType" not in error]
            return f"{found['key']}: expected {' or '.join(wanted)}, got {clip(found['value'], 200)}"
    return message


def _kind(error: str) -> str:
    for pattern, words in _KINDS.items():
        error = re.sub(pattern, words, error)
    return error


def all_options(parser: ArgumentParser) -> list[str]:
    """Name the options of a parser that help shows."""
    # jsonargparse lists links between options and the help of types among the options.
    shown = [action.option_strings for action in parser._actions if action.help != SUPPRESS]
    return [name for names in shown for name in names if name[0] == "-" and not name.endswith((".help", "+"))]


def nearest(unknown: str, options: Sequence[str]) -> str:
    """Suggest an option of the same group: where `--model.x` is unknown, one that begins with `--model.`."""
    group, _, last = unknown.rpartition(".")
    same = {name.rpartition(".")[2]: name for name in options if name.rpartition(".")[0] == group}
    # The group left out, or misspelt.
    moved = [name for name in options if "." in name and name.endswith(f".{last.lstrip('-')}")]
    found = [*moved, *(same[name] for name in get_close_matches(last, same, n=1))]
    return f" Did you mean {found[0]!r}?" if found else ""


def listed(options: Sequence[str]) -> str:
    """List options, those of a group together."""
    groups: dict[str, list[str]] = {}
    for name in options:
        group, _, last = name.rpartition(".")
        groups.setdefault(group, []).append(last)
    # `--model` itself, which reads a file, is understood where `--model.{...}` is listed.
    shown = [name for name in groups.pop("", []) if name not in groups]
    shown += [f"{group}.{{{','.join(names)}}}" for group, names in groups.items()]
    return f"Valid options: {', '.join(shown)}"
