"""The modules are tested on both implementations."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _both(implementation: str) -> None:
    pass
