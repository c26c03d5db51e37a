"""The layout of help: options with the values they take and their defaults."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

Option = tuple[str, Any, Any, str]
"""A row of a table of options: name, type (or its source), default and help. The type `bool` means a flag,
`list` an option that may be repeated, or the rest of the command line; the default `...` makes an option
required."""

_LONGEST_HEAD = 26
"""The text of a longer name begins on the next line."""
_VALUES = {
    "recipe": "NAME",
    "config": "FILE",
    "embeddings": "FILE",
    "tokenizer": "FILE",
    "resume": "RUN",
    "init-from": "RUN",
    "model": "RUN",
    "out": "PATH",
}
"""The value an option takes, if neither its type nor the end of its name determines it."""
_NUMBERS = ((r"(int|Int|Count|Seed)\b", "N"), (r"(float|Float)\b", "X"))
"""The same for numbers, by the names of their types."""


def usage(forms: Iterable[str]) -> str:
    """Lay out the forms of a command."""
    return "usage: " + "\n       ".join(forms)


def command_page(prog: str, description: str, options: Sequence[Option]) -> str:
    """Lay out the help of a command.

    Args:
        prog: The command as the user types it.
        description: What it does.
        options: Its options.
    """
    form = prog
    for name, kind, default, _ in options:
        several = " ..." if kind is list else ""
        if not name.startswith("-"):
            form += f" {name.upper()}{several}" if default is ... else f" [{name.upper()}{several}]"
        elif default is ...:
            form += f" {name} {value(name, kind)}"
    return "\n\n".join(
        [usage([f"{form} [OPTION ...]"]), fill(description), section("options", map(described, options))]
    )


def section(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Lay out rows of a name and a text below a title."""
    rows = list(rows)
    width = 4 + max((len(head) for head, _ in rows if len(head) <= _LONGEST_HEAD), default=0)
    lines = [f"{title}:"]
    for head, text in rows:
        beside = fill(text, width).split("\n")
        if len(head) > width - 4:
            lines.append(f"  {head}")
        else:
            lines.append(f"  {head:<{width - 2}}{beside.pop(0)}".rstrip())
        lines += [" " * width + line for line in beside]
    return "\n".join(lines)


def fill(text: str, indent: int = 0) -> str:
    """Break a text into lines that leave room for an indent on the terminal."""
    width = max(40, min(shutil.get_terminal_size().columns, 110) - indent)
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def described(option: Option) -> tuple[str, str]:
    """Return the name of an option with its value, and its help with the default."""
    name, kind, default, text = option
    head = f"{name} {value(name, kind)}".rstrip() if name.startswith("-") else name.upper()
    # The help text may itself give the default.
    if kind is bool or default in (None, ..., []) or "default: " in text or "(the default)" in text:
        return head, text
    parts = default if isinstance(default, (list, tuple)) else [default]
    shown = " ".join(str(part).lower() if isinstance(part, bool) else str(part) for part in parts)
    return head, f"{text if text.endswith('...') else text.removesuffix('.')}; default: {shown}."


def value(name: str, kind: Any) -> str:
    """Name the value that an option takes.

    Args:
        name: The option.
        kind: Its type, or the source code of the type.
    """
    if kind is bool:
        return ""
    source = kind.__name__ if isinstance(kind, type) else str(kind)
    words = (
        ",".join(re.findall(r"Literal\[(.*?)\]", source)).replace("True", "true").replace("False", "false")
    )
    choices = re.findall(r"[^\s,'\"]+", f"true, false, {words}" if "bool" in source else words)
    letters = [letter for kinds, letter in _NUMBERS if "str" not in source and re.search(kinds, source)]
    if choices:
        return "|".join([*letters, *choices]) if letters else f"{{{','.join(choices)}}}"
    several = " ..." if kind is not list and re.search(r"\b(list|tuple)\b", source) else ""
    if letters:
        return letters[0] + several
    last = re.split(r"[._-]", name)[-1]
    known = last.upper() if last in ("dir", "file", "name") else "TEXT"
    return _VALUES.get(name.removeprefix("--").rpartition(".")[2], known) + several
