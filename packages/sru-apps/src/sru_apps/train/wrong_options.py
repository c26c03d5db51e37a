"""What is said of a wrong command line: which options there are, and which values they take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from sru_apps.train.errors import clip
from sru_apps.train.short_names import shortened

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


def nearest(unknown: str, options: Sequence[str]) -> str:
    """Suggest an option: first one of the same group, or of the same name in another."""
    written, names = shortened(options), {name: _last(name) for name in options}
    group, last = unknown.rpartition(".")[0], _last(unknown)
    near = [last, *get_close_matches(last, names.values(), n=3)]
    found = [name for word in near for name in options if names[name] == word]
    found.sort(key=lambda name: (names[name] != last, name.rpartition(".")[0] != group))
    if not found:
        return ""
    return f" Did you mean {found[0] if group else written[found[0]]!r}?"


def _last(name: str) -> str:
    return name.removeprefix("--").rpartition(".")[2].replace("_", "-")
