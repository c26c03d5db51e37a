"""A griffe extension: the text of a value under `Returns:` may continue on lines that are not indented."""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"^( *)(?:Returns|Yields):\n((?:\1 +\S.*\n?|\n)+)", re.MULTILINE)
VALUE = re.compile(r"`(\w+)`: ")


class ReturnedValues(griffe.Extension):
    """Reads "`h`: ..." as the value of that name, and any other line as a continuation of the line before."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = SECTION.sub(_rewrite, obj.docstring.value + "\n").rstrip("\n")


def _rewrite(section: re.Match[str]) -> str:
    """Strip the backquotes from the names of values, and indent their continuation lines."""
    heading, *lines = section[0].splitlines()
    for number, line in enumerate(lines):
        is_value = number == 0 or VALUE.match(line.strip())
        lines[number] = VALUE.sub(r"\1: ", line, count=1) if is_value else f"    {line}".rstrip()
    return "\n".join([heading, *lines]) + "\n"
