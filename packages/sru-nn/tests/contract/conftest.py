"""Which rows run on which backends."""

from __future__ import annotations

from typing import Any

from ..conftest import CHOICES
from .rows import ROWS, Row

# A row for each recurrence in Triton, whose interpreter is slow.
IN_TRITON = ("SRU", "SRU, both directions, norm, tanh", "GatedLinearRNN", "MinGRU")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out what would run the same code again: all but the main rows on any backend but the last.

    The other rows differ in what the module does around its recurrence, and in what it passes to it, with
    which tests/cells compares every backend with the reference.
    """

    def repeats(item: Any) -> bool:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        row, implementation = given.get("row"), given.get("implementation")
        if not isinstance(row, Row):
            return False
        if implementation == "triton":
            return not any(row is ROWS[name] for name in IN_TRITON)
        return implementation in CHOICES[:-1] and not (row.main and row.kernels)

    repeated = [item for item in items if repeats(item)]
    items[:] = [item for item in items if not repeats(item)]
    config.hook.pytest_deselected(items=repeated)
