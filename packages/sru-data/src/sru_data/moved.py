"""Keeps modules importable under their old names."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def redirect(moved: Mapping[str, str]) -> None:
    """Redirect imports of old module names to the modules that replaced them.

    An old name refers to the new module itself or, if the module was split, to a module with the names of all
    its parts.

    Args:
        moved: Maps the full old name of each module to its full new name, or to the names of its parts,
            separated by spaces.
    """
    # Inserted first, because Python would otherwise find the files of a package that has moved as a whole.
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
        for home in homes:
            vars(module).update({name: value for name, value in vars(home).items() if name[:2] != "__"})
        if len(homes) == 1:
            # The import system returns this entry once the module has run.
            sys.modules[module.__name__] = homes[0]
