"""Keeps modules importable under their former names."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def redirect(moved: Mapping[str, str]) -> None:
    """Let every import of a former name find the module that took its place.

    A former name is the new module itself, not a copy. A module that was split names its new modules,
    separated by spaces; a name is looked up in each of them in turn.

    Args:
        moved: The full former name of each module, and the full name or names it has now.
    """
    # First, because in a former package that has moved as a whole, Python would find its files again.
    sys.meta_path.insert(0, _Redirection(moved))


class _Redirection(MetaPathFinder, Loader):
    def __init__(self, moved: Mapping[str, str]) -> None:
        self._moved = moved

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in self._moved else None

    def exec_module(self, module: ModuleType) -> None:
        homes = [import_module(name) for name in self._moved[module.__name__].split()]
        if len(homes) == 1:
            # The import system returns whatever stands here once the module has run.
            sys.modules[module.__name__] = homes[0]
            return

        def find(name: str) -> Any:
            for home in homes:
                if hasattr(home, name):
                    return getattr(home, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__dict__["__getattr__"] = find
