"""The drop-in modules are tested on both implementations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sru_nn import backend

CHOICES = ["reference", "kernels"] if backend.active() == "kernels" else ["reference"]


@pytest.fixture(params=CHOICES, autouse=True)
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    with backend.using(request.param):
        yield
