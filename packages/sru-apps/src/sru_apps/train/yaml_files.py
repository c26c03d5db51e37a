"""YAML files of options, inspected before anything is built from them: a run folder is data."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from sru_apps.train.errors import MisfitError, UserError, is_text, reading
from sru_apps.utf8 import read_text

_MOST_BYTES = 30_000
_MOST_VALUES = 10_000
_DEEPEST = 20
_CODE = ("class_path", "init_args")
"""Keys that make jsonargparse import the code that a file names."""


GROUPS = ("data", "model", "optimizer", "trainer")
"""The groups of options; each is also an option that reads a file, as `--config` does for all of them."""
RENAMED = {
    "optimizer.learning_rate": "optimizer.lr",
    "encoder": "model.encoder",
    "data_dir": "data.data_dir",
    "embeddings": "data.embeddings",
}
"""Old names of options, which files may still use."""
_GONE = ("amsgrad", "maximize", "capturable", "differentiable", "foreach", "fused")
"""Old options of the optimizer."""


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML file of options and rename old options, with one warning.

    Raises:
        UserError: The file is missing or damaged.
    """
    settings = read_yaml(path)
    if "config" in settings:
        raise UserError(f"{path}: a file of options may not name another one in config")
    for group in GROUPS:
        if settings.get(group, ...) is None:
            del settings[group]
        elif not isinstance(settings.get(group, {}), dict):
            raise UserError(f"{path}: {group} must hold options as NAME: VALUE, got {settings[group]!r}")
    seed = settings.pop("seed_everything", None)
    if seed is not None and not isinstance(seed, bool):
        settings.setdefault("seed", seed)
    renamed = []
    for old, new in RENAMED.items():
        group, _, name = old.rpartition(".")
        value = (settings.get(group, {}) if group else settings).pop(name, None)
        if value is not None:
            new_group, _, new_name = new.partition(".")
            settings[new_group] = {new_name: value} | settings.get(new_group, {})
            renamed.append(f"{old} is now {new}")
    if renamed:
        warnings.warn(f"{path} has former names of options: {', '.join(renamed)}", stacklevel=2)
    for name in _GONE:
        # How the optimizer computes (`foreach`, `fused`) is no longer an option. Ignoring the others would
        # change its results.
        value = settings.get("optimizer", {}).pop(name, None)
        if value and name not in ("foreach", "fused"):
            raise UserError(f"{path}: optimizer.{name} is no longer an option, got {value}; leave it out")
    return settings


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of options.

    Args:
        path: A YAML file in UTF-8.

    Returns:
        Its options by name; empty for an empty file.

    Raises:
        UserError: It is missing or damaged, too large once its aliases are expanded, specifies an option
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
    """Count the values below a node, with its aliases expanded."""
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
