"""How the packages import each other and themselves, function-level imports included."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[2]
ARROWS = {
    "sru_kernels": set(),
    "sru_nn": {"sru_kernels"},
    "sru_data": set(),
    "sru_apps": {"sru_nn", "sru_data"},
}
"""Which packages of ours each one may import."""
COMPILED = {"sru_kernels._native"}


@cache
def sources() -> dict[str, Path]:
    """Map the name of each module to its file."""
    found = {}
    for package in ARROWS:
        root = PACKAGES / package.replace("_", "-") / "src"
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imported(module: str) -> frozenset[str]:
    """Return what a module imports from our packages, even inside functions: modules or names in them."""
    path = sources()[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module or "").split(".")]
            names |= {".".join(filter(None, [*base, alias.name])) for alias in node.names}
    return frozenset(name for name in names if name.partition(".")[0] in ARROWS)


def test_no_module_imports_one_that_imports_it() -> None:
    found = sources()
    graph = {}
    for module in found:
        # A name that is not a module belongs to the package before it; compiled modules import nothing.
        names = imported(module) - COMPILED
        graph[module] = {name if name in found else name.rpartition(".")[0] for name in names} - {module}
    assert sum(map(len, graph.values())) > 500
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("package", ARROWS)
def test_packages_import_only_what_they_may(package: str) -> None:
    for module in sources():
        if module.partition(".")[0] == package:
            roots = {name.partition(".")[0] for name in imported(module)}
            assert roots <= {package, *ARROWS[package]}, module


def test_private_names_stay_in_their_folder() -> None:
    for module in sources():
        folder = sources()[module].parent
        for name in imported(module):
            parts = name.split(".")
            private = [
                number for number, part in enumerate(parts) if part.startswith("_") and part != "__version__"
            ]
            if private:
                owner = sources()[".".join(parts[: private[0]])]
                assert owner.parent == folder, f"{module} imports {name}"
