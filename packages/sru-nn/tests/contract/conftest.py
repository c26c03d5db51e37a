"""Which rows run on which backends."""

from __future__ import annotations

from typing import Any

import pytest

from ..conftest import CHOICES
from . import rows
from .rows import ROWS, Row


@pytest.fixture
def one_layer(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have rows of one layer, but for that of the SRU: the compiler takes a second for each."""
    if row is not ROWS["SRU"]:
        monkeypatch.setattr(rows, "L", 1)


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """On any backend but the last, and in Triton's interpreter, leave out rows with the recurrence of others.

    They differ in what the module does around it, and in what it passes to it, with which tests/cells
    compares every backend with the reference. SRU++, LSTM and GRU run the recurrence of the SRU.
    """

    def repeats(item: Any) -> bool:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        row = given.get("row")
        if not isinstance(row, Row) or given.get("implementation") not in (*CHOICES[:-1], "triton"):
            return False
        return not row.backends

    repeated = [item for item in items if repeats(item)]
    items[:] = [item for item in items if not repeats(item)]
    config.hook.pytest_deselected(items=repeated)
