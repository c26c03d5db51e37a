"""Fixtures for the tests of the gated linear RNN."""

from __future__ import annotations

import pytest

from sru_nn.cells.gated_linear import chunks


@pytest.fixture
def many_turns(implementation):
    """Process few chunks per turn, so that short sequences take several turns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_CPU_SIZE", 1024)
        yield
