"""Messages about a wrong command line: the valid options, and the values they take."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from sru_apps.train.errors import clip
from sru_apps.train.short_names import shortened

_VALUE = (
    r"Does not validate against any of the Union subtypes Subtypes: .*? Errors: - (?P<errors>.*) "
    r"Given value type: .*? Given value: (?P<value>.*)",
    r"(?P<errors>Not of type \w+: (?P<value>.*) does not conform to restriction v.+)",
    r"(?P<errors>Not of type \w+: .*: '(?P<value>.*)')",
    r"(?P<errors>.*)\. Got value: ?(?P<value>.*)",
)
"""jsonargparse's message about a wrong value, in terms of Python's types."""
_KINDS = {
    r"^Not of type \w+: (?:.* )?does not conform to restriction ": "a number ",
    r"\bv([<>=]+)": r"\1 ",
    r"^Not of type \w+: .* int\(\) .*$": "a whole number",
    r"^Not of type \w+: could not convert .*$": "a number",
    r"^Expected a typing\.Literal\[(.*)\]$": r"one of \1",
    r"^Expected a tuple with (\d+) elements$": r"\1 values",
    r"^(Expected .*)\. Got value: .*$": r"\1",
    r"^Expected a <class 'int'>$": "a whole number",
    r"^Expected a <class 'float'>$": "a number",
    r"^Expected a <class 'bool'>$": "true or false",
    r"^Expected a <class '(.*)'>$": r"a value of type \1",
    r"^Expected ": "",
}
"""The types in its messages, and the same in plain words."""


def plain(message: str) -> str:
    """Rephrase jsonargparse's message about a value in plain words."""
    for form in _VALUE:
        if found := re.fullmatch(rf'Parser key "(?P<key>[^"]+)": {form}', message):
            wanted = [_kind(error) for error in found["errors"].split(" - ") if "NoneType" not in error]
            got = clip(found["value"], 200) or "nothing"
            return f"{found['key']}: expected {' or '.join(wanted)}, got {got}"
    return message


def _kind(error: str) -> str:
    for pattern, words in _KINDS.items():
        error = re.sub(pattern, words, error)
    return error


_MEANT = {
    "learning-rate": "--optimizer.lr",
    "epochs": "--trainer.max_epochs",
    "dataset": "--data.name",
    "gpus": "--trainer.devices",
    "output-dir": "--runs-dir",
}
"""Names that other programs use for our options."""
_FORMS = (
    (
        r"[Uu]nrecognized arguments: (?:.*? )??(?P<option>--?[a-zA-Z][^\s=]*)",
        "unknown option {option}.{nearest}",
    ),
    (r"[Uu]nrecognized arguments: (?P<word>\S+)", "unexpected argument {word!r}{recipe}"),
    (
        r"argument (?:-\w/)?(?P<option>--[\w.-]+)[^:]*: expected (one|at least one) argument",
        "{option} needs a value",
    ),
    (
        r"argument (?P<option>--[\w.-]+): ignored explicit argument (?P<value>.*)",
        "{option} takes no value, got {value}",
    ),
    (
        r"Group '(?P<group>.+)' does not accept option '(?P<option>.+)'",
        "unknown option {group}.{option}.{nearest}",
    ),
    (r"Option '(?P<option>.+)' is not accepted", "unknown option {option}.{nearest}"),
)
"""Messages of argparse and jsonargparse about a command line, and their wording for users."""


def refuse(prog: str, message: str, options: Sequence[str], recipes: Sequence[str] = ()) -> NoReturn:
    """Report a wrong command line and exit with status 2.

    Args:
        prog: The command as the user types it.
        message: The parser's message.
        options: The names of its options.
        recipes: The names that `--recipe` takes.
    """
    message = clip(explain(" ".join(message.split()), options, recipes), 2000)
    all_of_them = "--help-all" if any("." in name for name in options) else "--help"
    print(f"{prog}: error: {message}\n`{prog} {all_of_them}` lists the options.", file=sys.stderr)
    raise SystemExit(2)


def explain(message: str, options: Sequence[str], recipes: Sequence[str] = ()) -> str:
    """Explain in a sentence what is wrong with a command line.

    Args:
        message: The parser's message.
        options: The valid options.
        recipes: The names that `--recipe` takes.
    """
    for form, words in _FORMS:
        if found := re.match(form, message):
            known = {"group": "", "option": "", **found.groupdict()}
            full = ".".join(filter(None, (known["group"], known["option"])))
            recipe = f". Did you mean '--recipe {found['word']}'?" if known.get("word") in recipes else ""
            shown = {name: clip(word or "", 200) for name, word in known.items()}
            return words.format(**shown, nearest=nearest(full, options), recipe=recipe)
    if found := re.match(r"the following arguments are required: (.*)", message):
        names = [f"--{name}" if f"--{name}" in options else name.upper() for name in found[1].split(", ")]
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
    return plain(message)


def nearest(unknown: str, options: Sequence[str]) -> str:
    """Suggest an option: one of the same name in another group, or else a similar one of the same group."""
    written, names = shortened(options), {name: _last(name) for name in options}
    last, group = _last(unknown), f"--{unknown.removeprefix('--')}".rpartition(".")[0]
    known = dict(zip(names.values(), names, strict=True)) | {
        word: name for word, name in _MEANT.items() if name in options
    }
    near = get_close_matches(last, known, n=3)
    same = [name for name in options if names[name] in near and name.rpartition(".")[0] == group]
    same.sort(key=lambda name: near.index(names[name]))
    found = [name for name in options if names[name] == last] or [*same, *(known[word] for word in near)][:1]
    if not found:
        return ""
    return f" Did you mean {' or '.join(repr(name if group else written[name]) for name in found)}?"


def _last(name: str) -> str:
    return name.removeprefix("--").rpartition(".")[2].replace("_", "-")
