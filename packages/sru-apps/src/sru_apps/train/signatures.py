"""Options read from the source of a class without importing it, so that help does not wait for torch."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from docstring_parser import parse as parse_docstring

from sru_apps.train.layout import Option


def data_options(target: str) -> list[Option]:
    """Read the options `--data.*` of a task.

    Args:
        target: `"module:class"`; the arguments of its constructor, except the seed, are the options, and the
            docstring of the class describes them.
    """
    module, node = _class(target)
    (init,) = (item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
    given = [*init.args.posonlyargs, *init.args.args]
    defaults = [None] * (len(given) - len(init.args.defaults)) + init.args.defaults
    rows = [
        *zip(given, defaults, strict=True),
        *zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True),
    ]
    described = parse_docstring(ast.get_docstring(node) or "").params
    texts = {item.arg_name: item.description for item in described if item.args[0] == "param"}
    return [
        (
            f"--data.{item.arg}",
            _kind(module, item.annotation),
            _value(module, default),
            _line(texts[item.arg]),
        )
        for item, default in rows
        if item.arg not in ("self", "seed")
    ]


def config_options(target: str, group: str) -> list[Option]:
    """Read the options from the fields of a dataclass, and then from those of its bases.

    Args:
        target: `"module:class"`; for a `TaskModule`, its `config_class` is read. A field without a default is
            not an option. The docstring below a field describes it.
        group: The prefix of their names, such as `model`.
    """
    module, node = _class(target)
    found = _assigned(module, node, "config_class")
    return list(_fields(*(found or (module, node)), group).values())


def command_options(target: str, known: Mapping[str, str]) -> tuple[str, list[Option]] | None:
    """Read the description and the options of a command, which its function passes to `parse_options`.

    Args:
        target: `"module:function"`.
        known: The values of expressions in texts, such as `task.name`.

    Returns:
        Both, or None if they are not literals there.
    """
    module, _, name = target.partition(":")
    found = _find(module, name)
    calls = [] if found is None else [node for node in ast.walk(found[1]) if isinstance(node, ast.Call)]
    for call in calls:
        if ast.unparse(call.func) == "parse_options" and len(call.args) > 2:
            _, description, table = call.args[:3]
            if isinstance(table, ast.Name) and (named := _find(module, table.id)) is not None:
                module, table = named  # type: ignore[assignment]
            # A default that is not a literal raises ValueError.
            with suppress(ValueError, AttributeError, KeyError):
                rows = [row.elts for row in table.elts]  # type: ignore[attr-defined]
                return _text(module, description, known), [
                    (
                        _value(module, name),
                        _plain_kind(module, kind),
                        _value(module, default),
                        _text(module, text, known),
                    )
                    for name, kind, default, text in rows
                ]
    return None


def _text(module: str, node: ast.expr, known: Mapping[str, str]) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(
            known[ast.unparse(part.value)] if isinstance(part, ast.FormattedValue) else str(part.value)  # type: ignore[attr-defined]
            for part in node.values
        )
    return str(_value(module, node))


def _plain_kind(module: str, node: ast.expr) -> Any:
    source = _kind(module, node)
    return {"bool": bool, "list": list}.get(source, source)


def _fields(module: str, node: ast.ClassDef, group: str) -> dict[str, Option]:
    found: dict[str, Option] = {}
    for item, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and _has_default(item.value):
            text = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = _line(str(after.value.value))
            name = f"--{group}.{item.target.id}"
            found[name] = (name, _kind(module, item.annotation), _value(module, item.value), text)
    for where, base in _bases(module, node):
        for name, option in _fields(where, base, group).items():
            found.setdefault(name, option)
    return found


def _has_default(node: ast.expr | None) -> bool:
    """Whether a field has a default that is not a factory, which makes it an option."""
    named = [keyword.arg for keyword in node.keywords] if isinstance(node, ast.Call) else []
    return node is not None and "default_factory" not in named


def _bases(module: str, node: ast.ClassDef) -> Iterator[tuple[str, ast.ClassDef]]:
    for base in node.bases:
        found = _find(module, base.id) if isinstance(base, ast.Name) else None
        if found is not None and isinstance(found[1], ast.ClassDef):
            yield found[0], found[1]


@cache
def _names(module: str) -> dict[str, ast.AST]:
    """Map the names that a module defines or imports to their definitions."""
    package, *rest = module.split(".")
    # Finding the package imports nothing; finding a module within it would import its parents.
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(next(iter(spec.submodule_search_locations)), *rest)
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names: dict[str, ast.AST] = {}
    body = ast.parse(path.read_text("utf-8")).body
    # The branches for run time, not for type checkers.
    body += [item for node in body if isinstance(node, ast.If) for item in node.orelse]
    for node in body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: node for alias in node.names}
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names[node.name] = node
        elif isinstance(node, ast.Assign):
            names |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            names[node.target.id] = node.value
    return names


def _find(module: str, name: str) -> tuple[str, ast.AST] | None:
    """Follow a name to its definition in our own packages, and return it with its module."""
    node = _names(module).get(name)
    if not isinstance(node, ast.ImportFrom):
        return None if node is None else (module, node)
    if node.module is None or node.module.split(".")[0] not in ("sru_apps", "sru_data"):
        return None
    original = next(alias.name for alias in node.names if (alias.asname or alias.name) == name)
    return _find(node.module, original)


def _class(target: str) -> tuple[str, ast.ClassDef]:
    module, _, name = target.partition(":")
    found = _find(module, name)
    assert found is not None, target
    assert isinstance(found[1], ast.ClassDef), target
    return found[0], found[1]


def _assigned(module: str, node: ast.ClassDef, name: str) -> tuple[str, ast.ClassDef] | None:
    """Find the class that is assigned to a name in the body of another class or of one of its bases."""
    for item in node.body:
        if isinstance(item, ast.Assign) and any(ast.unparse(target) == name for target in item.targets):
            return _class(f"{module}:{ast.unparse(item.value)}")
    return next(filter(None, (_assigned(*base, name) for base in _bases(module, node))), None)


def _kind(module: str, node: ast.expr | None) -> str:
    """Format a type with the names of literals replaced by the literals."""
    if isinstance(node, ast.BinOp):
        return f"{_kind(module, node.left)} | {_kind(module, node.right)}"
    if isinstance(node, ast.Name) and (found := _find(module, node.id)) is not None:
        where, value = found
        return _kind(where, value) if isinstance(value, (ast.Subscript, ast.BinOp, ast.Name)) else node.id
    if isinstance(node, ast.Subscript) and isinstance(node.slice, (ast.Call, ast.Tuple)):
        parts = node.slice.args if isinstance(node.slice, ast.Call) else node.slice.elts
        return (
            f"{ast.unparse(node.value)}[{', '.join(name for part in parts for name in _keys(module, part))}]"
        )
    return "" if node is None else ast.unparse(node)


def _keys(module: str, node: ast.expr) -> Iterator[str]:
    """Format a part of a type; for a table, in `tuple(TABLE)` or `*TABLE`, its keys."""
    name = node.value if isinstance(node, ast.Starred) else node
    found = _find(module, name.id) if isinstance(name, ast.Name) else None
    if found is not None and isinstance(found[1], ast.Dict):
        yield from (ast.unparse(key) for key in found[1].keys if key is not None)
    else:
        yield ast.unparse(node)


def _value(module: str, node: ast.AST | None) -> Any:
    """Evaluate a default, possibly in a call that declares bounds; `...` if there is none."""
    if node is None:
        return ...
    if isinstance(node, ast.Call):
        named = [keyword.value for keyword in node.keywords if keyword.arg == "default"]
        return _value(module, [*node.args, *named][0])
    if isinstance(node, ast.Name) and (found := _find(module, node.id)) is not None:
        return _value(*found)
    return ast.literal_eval(node)


def _line(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split())
