from __future__ import annotations

from types import SimpleNamespace

import pytest
from pytorch_lightning.callbacks import TQDMProgressBar

from sru_apps.training.progress import EpochBar


def test_epochs_count_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = EpochBar()
    shown: list[str] = []
    bar.train_progress_bar = SimpleNamespace(set_description=shown.append)
    monkeypatch.setattr(TQDMProgressBar, "on_train_epoch_start", lambda *_: None)
    bar.on_train_epoch_start(SimpleNamespace(current_epoch=0, max_epochs=12), None)
    assert shown == ["epoch 1/12"]


def test_shows_figures_without_the_version_of_the_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {"v_num": "x", "validation_accuracy": 0.5}
    monkeypatch.setattr(TQDMProgressBar, "get_metrics", lambda *_: metrics)
    assert EpochBar().get_metrics(None, None) == {"validation_accuracy": 0.5}
