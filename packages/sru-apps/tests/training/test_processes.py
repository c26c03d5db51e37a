from __future__ import annotations

import pytest
from pytorch_lightning.utilities import rank_zero_only

from sru_apps.training.processes import is_main_process


def test_the_main_process_is_rank_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_main_process()
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert not is_main_process()
