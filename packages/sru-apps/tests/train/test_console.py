from __future__ import annotations

import logging
import warnings

import pytest

from sru_apps.train.console import quiet_lightning


def test_announcements_go_and_warnings_stay(caplog: pytest.LogCaptureFixture) -> None:
    quiet_lightning()
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    logger.info("GPU available: no")
    logger.warning("the loss is nan")
    assert caplog.messages == ["the loss is nan"]


def test_only_named_warnings_are_silenced() -> None:
    quiet_lightning()
    with warnings.catch_warnings(record=True) as shown:
        warnings.warn("FSDP2-wrapped module x returned a view tensor", stacklevel=1)
    assert shown == []
    with pytest.warns(UserWarning, match="something else"):
        warnings.warn("something else", stacklevel=1)
