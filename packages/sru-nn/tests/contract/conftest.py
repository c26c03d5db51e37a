"""Which rows run on which backends."""

from __future__ import annotations

from typing import Any

from ..conftest import CHOICES


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out what would run the same code again: a row without kernels on any backend but the last."""

    def repeats(item: Any) -> bool:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        return not getattr(given.get("row"), "kernels", True) and given.get("implementation") in CHOICES[:-1]

    repeated = [item for item in items if repeats(item)]
    items[:] = [item for item in items if not repeats(item)]
    config.hook.pytest_deselected(items=repeated)
