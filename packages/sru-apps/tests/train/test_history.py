from __future__ import annotations

import csv
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sru_apps.train.console import quiet_lightning
from sru_apps.train.errors import UserError
from sru_apps.train.history import History
from sru_apps.train.pictures import Curves

pytestmark = pytest.mark.usefixtures("pictures")


def _trainer(*, epoch: int = 0, step: int = 0, accuracy: float = 0.5) -> SimpleNamespace:
    metrics = {"validation_loss": torch.tensor(0.25), "validation_accuracy": torch.tensor(accuracy)}
    return SimpleNamespace(
        current_epoch=epoch,
        global_step=step,
        max_epochs=3,
        max_steps=-1,
        num_training_batches=2,
        is_last_batch=True,
        callback_metrics=metrics,
        loggers=[],
        progress_bar_callback=None,
        accumulate_grad_batches=1,
        world_size=1,
        is_global_zero=True,
    )


def _step(history: History, loss: float) -> None:
    history.on_train_batch_end(_trainer(), None, {"loss": torch.tensor(loss)}, None, 0)


def _rows(table: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader(table.read_text().splitlines()))
    for row in rows:
        assert float(row.pop("seconds")) >= 0
    return rows


@pytest.fixture
def history(tmp_path: Path) -> History:
    quiet_lightning()
    return History(tmp_path / "curve.png", table=tmp_path / "rows.csv", figures=["accuracy"])


FIRST = {
    "validation_accuracy": "0.5",
    "epoch": "1",
    "step": "2",
    "train_loss": "0.5",
    "validation_loss": "0.25",
}


def test_a_row_an_epoch(history: History, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = _trainer(step=2)
    history.on_train_start(trainer, None)
    _step(history, 0.25)
    _step(history, 0.75)
    history.on_train_epoch_end(trainer, None)
    assert _rows(tmp_path / "rows.csv") == [FIRST]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "epoch  1/3  train loss 0.5000  validation accuracy 0.5000" in capsys.readouterr().out


def test_short_epochs_share_a_picture_that_is_up_to_date_at_the_end(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def slow_draw(path: Path, x: str, panels: dict[str, Curves], *, title: str) -> None:
        time.sleep(0.05)
        drawn.append(len(panels["loss"]["training"][0]))

    monkeypatch.setattr("sru_apps.train.history.draw_curves", slow_draw)
    for epoch in range(3):
        history.on_train_epoch_end(_trainer(epoch=epoch), None)
    assert drawn == [1]
    history.on_train_end(_trainer(), None)
    history.on_exception(_trainer(), None, KeyboardInterrupt())
    assert drawn == [1, 3]


def test_a_picture_that_cannot_be_written_hides_no_exception(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    history.rows.append({"epoch": 1, "train_loss": 1.0, "validation_loss": 1.0, "validation_accuracy": 0.5})
    monkeypatch.setattr("sru_apps.train.history.draw_curves", full)
    history.on_exception(_trainer(), None, UserError("cannot write the checkpoint"))
    with pytest.raises(OSError, match="No space left"):
        history.on_train_end(_trainer(), None)


def test_loss_of_a_token_comes_before_that_of_a_step(history: History, tmp_path: Path) -> None:
    trainer = _trainer()
    trainer.accumulate_grad_batches = 2
    history.on_train_start(trainer, None)
    # Lightning has divided the first loss by the number of accumulated batches.
    history.on_train_batch_end(trainer, None, {"loss": torch.tensor(0.25)}, None, 0)
    outputs = {"loss": torch.tensor(7.0), "mean_loss": torch.tensor(1.5)}
    history.on_train_batch_end(trainer, None, outputs, None, 1)
    history.on_train_epoch_end(trainer, None)
    assert history.rows[0]["train_loss"] == 1.0


def test_speed_is_that_of_training_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet_lightning()
    trainer = _trainer()
    trainer.world_size = 1

    def make() -> History:
        return History(tmp_path / "curve.png", figures=["accuracy"], count=len, unit="tokens")

    history = make()
    history.on_train_start(trainer, None)
    history.on_train_batch_end(trainer, None, {"loss": torch.tensor(1.0)}, [0] * 30, 0)
    continued = make()
    continued.load_state_dict({**history.state_dict(), "seconds": [0.0, 2.0]})
    continued.on_train_batch_end(trainer, None, {"loss": torch.tensor(1.0)}, [0] * 50, 1)
    continued.on_validation_start(trainer, None)
    time.sleep(0.01)
    continued.on_train_epoch_end(trainer, None)
    assert continued.rows[0]["tokens_per_second"] == 40.0
    assert "  40 tokens per second" in capsys.readouterr().out
    continued.on_train_epoch_end(trainer, None)
    assert continued.rows[1]["tokens_per_second"] == 0.0
