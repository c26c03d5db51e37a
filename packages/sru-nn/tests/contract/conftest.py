"""Which rows run on which backends."""

from __future__ import annotations

from typing import Any

import pytest

from ..conftest import CHOICES
from . import rows
from .rows import ROWS, Row


@pytest.fixture
def one_layer(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one layer in all rows except the SRU's: the compiler takes a second per layer."""
    if row is not ROWS["SRU"]:
        monkeypatch.setattr(rows, "L", 1)


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Deselect rows that share another row's recurrence, except on the last backend if that is not Triton.

    They differ in the module around the recurrence and in the arguments passed to it, with which
    tests/cells compares every backend with the reference. SRU++, LSTM and GRU run the recurrence of the SRU.
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
