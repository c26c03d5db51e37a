"""Short forms of options on the command line: `--batch-size` for `--data.batch_size`.

An option of a group may be written without the group if no other option has that name, with dashes or
underscores. In files, options have their full names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args, get_origin

from jsonargparse import SUPPRESS, ArgumentParser

ALIASES = {"--epochs": "--trainer.max_epochs"}
"""Short forms with a different name."""


def short_names(options: Iterable[str]) -> dict[str, str]:
    """Map short forms to the full names of options.

    Args:
        options: The full names, such as `--data.batch_size`, and those of options without a group.
    """
    options = list(options)
    taken = [_bare(name) for name in options]
    short = {f"--{_bare(name)}": name for name in options if "." in name and taken.count(_bare(name)) == 1}
    return short | {alias: name for alias, name in ALIASES.items() if name in options}


def shortened(options: Iterable[str]) -> dict[str, str]:
    """Map the full names of options to their preferred form on the command line."""
    options = list(options)
    return {name: name for name in options} | {name: short for short, name in short_names(options).items()}


def _bare(name: str) -> str:
    return name.removeprefix("--").rpartition(".")[2].replace("_", "-")


def all_options(parser: ArgumentParser) -> list[str]:
    """Name the options of a parser that appear in its help."""
    # jsonargparse lists links between options and the help of types among the options.
    shown = [action.option_strings for action in parser._actions if action.help != SUPPRESS]
    return [name for names in shown for name in names if name[0] == "-" and not name.endswith((".help", "+"))]


def written_out(parser: ArgumentParser, args: Sequence[str]) -> list[str]:
    """Return a command line with short forms replaced by full names, and the values of a list joined.

    An option that takes a list may have several values, as when the shell expands `*.csv`, and be repeated. A
    boolean option without a value is true.

    Args:
        parser: The parser of the options.
        args: The command line.
    """
    types = {
        name: getattr(action, "_typehint", None)
        for action in parser._actions
        for name in action.option_strings
    }
    shown = all_options(parser)
    short = short_names(shown)
    found: list[str] = []
    lists: dict[str, list[str]] = {}
    rest = list(args)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if option == "--":
            found += [option, *rest]
            break
        # A short form has precedence over a hidden option, such as the name of the task in files.
        if option.startswith("--") and option not in shown:
            option = short.get(option.replace("_", "-"), option)
        if types.get(option) is None:
            found.append(option + equals + value)
            continue
        values = [value] if equals else list(_values(rest))
        if _takes_list(types[option]):
            if option not in lists:
                found.append(option)  # Completed when all its values are known.
            lists.setdefault(option, []).extend(values)
        elif not values:
            found.append(f"{option}=true" if bool in (types[option], *get_args(types[option])) else option)
        else:
            found += [f"{option}={values[0]}", *values[1:]]
    return [_joined(item, lists[item], types[item]) if item in lists else item for item in found]


def _values(rest: list[str]) -> Iterator[str]:
    """Take the values of an option, including negative numbers, from the rest of the command line."""
    while rest and (not rest[0].startswith("-") or rest[0][1:2].isdigit()):
        yield rest.pop(0)


def _takes_list(kind: Any) -> bool:
    return get_origin(kind) in (list, tuple) or any(_takes_list(part) for part in get_args(kind))


def _joined(option: str, values: list[str], kind: Any) -> str:
    if not values:
        return option
    if len(values) == 1 and (values[0].startswith("[") or any(part in (str, int) for part in get_args(kind))):
        return f"{option}={values[0]}"
    texts = [json.dumps(value) for value in values] if "str" in str(kind) else values
    return f"{option}=[{', '.join(texts)}]"
