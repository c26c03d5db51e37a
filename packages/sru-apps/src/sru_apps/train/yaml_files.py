"""YAML files of options, looked at before anything is made of them: a run folder is data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from sru_apps.train.errors import MisfitError, UserError, is_text, reading
from sru_apps.utf8 import read_text

_MOST_BYTES = 30_000
_MOST_VALUES = 10_000
_DEEPEST = 20
_CODE = ("class_path", "init_args")
"""Keys by which jsonargparse imports what a file names."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of options.

    Args:
        path: A YAML file in UTF-8.

    Returns:
        What it holds, by name; nothing of an empty file.

    Raises:
        UserError: It is missing or damaged, too large once its aliases are written out, gives an option
            twice, or names code to import.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file; give --config a YAML file of options")
    with reading(path, kind="a file of options"):
        if path.stat().st_size > _MOST_BYTES:
            raise MisfitError(f"it is larger than {_MOST_BYTES:,} bytes")
        loader = yaml.SafeLoader(read_text(str(path)))
        node = loader.get_single_node()
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise MisfitError("expected options as NAME: VALUE")
        if _count(node, [], {}) > _MOST_VALUES:
            raise MisfitError(f"it holds more than {_MOST_VALUES:,} values with its aliases written out")
        content: dict[str, Any] = loader.construct_document(node)
        return content


def _count(node: yaml.Node, above: list[yaml.Node], known: dict[yaml.Node, int]) -> int:
    """Count the values below a node, its aliases written out."""
    if node in above:
        raise MisfitError("an anchor holds itself")
    if len(above) > _DEEPEST:
        raise MisfitError(f"line {node.start_mark.line + 1} is nested deeper than {_DEEPEST} levels")
    if node not in known:
        parts = node.value
        if isinstance(node, yaml.ScalarNode):
            parts = []
            if not is_text(node.value):
                raise MisfitError(
                    f"line {node.start_mark.line + 1} holds a character that no option may hold"
                )
        if isinstance(node, yaml.MappingNode):
            _check_names([name for name, _ in parts])
            parts = [value for _, value in parts]
        known[node] = 1 + sum(_count(part, [*above, node], known) for part in parts)
    return known[node]


def _check_names(names: list[yaml.Node]) -> None:
    seen = set()
    for name in names:
        place = f"line {name.start_mark.line + 1}"
        if name.tag != "tag:yaml.org,2002:str":
            raise MisfitError(f"{place}: expected the name of an option, got {name.value!r}")
        if name.value in _CODE:
            raise MisfitError(f"{place}: {name.value} names code to import, which no option does")
        if name.value in seen:
            raise MisfitError(f"{place}: {name.value} is given twice")
        seen.add(name.value)
