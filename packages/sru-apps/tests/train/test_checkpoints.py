from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sru_apps.train.checkpoints import RunCheckpoints
from sru_apps.train.errors import UserError


class Trainer(SimpleNamespace):
    """As much of Lightning's trainer as the callback looks at."""

    def __init__(self, **changes: object) -> None:
        super().__init__(
            **{
                "global_step": 1,
                "current_epoch": 0,
                "is_last_batch": False,
                "received_sigterm": False,
                "accumulate_grad_batches": 1,
                "max_steps": -1,
                "world_size": 1,
                "callback_metrics": {},
                "saved": [],
                **changes,
            }
        )

    def save_checkpoint(self, path: Path) -> None:
        self.saved.append(path.name)


@pytest.fixture
def checkpoints(tmp_path: Path) -> RunCheckpoints:
    return RunCheckpoints(tmp_path, monitor="accuracy", every_steps=3)


def _end_epoch(checkpoints: RunCheckpoints, epoch: int, accuracy: float) -> list[str]:
    trainer = Trainer(current_epoch=epoch, callback_metrics={"accuracy": torch.tensor(accuracy)})
    checkpoints.on_train_epoch_end(trainer, None)
    return trainer.saved


def test_best_is_replaced_by_better_only(checkpoints: RunCheckpoints) -> None:
    saved = [
        _end_epoch(checkpoints, epoch, accuracy) for epoch, accuracy in enumerate([0.5, 0.4, 0.75, 0.75])
    ]
    both, last = ["best.ckpt", "last.ckpt"], ["last.ckpt"]
    assert saved == [both, last, both, last]
    assert (checkpoints.best_epoch, checkpoints.best_score) == (2, 0.75)


def test_score_to_beat_survives_an_interruption(checkpoints: RunCheckpoints, tmp_path: Path) -> None:
    _end_epoch(checkpoints, 0, 0.75)
    continued = RunCheckpoints(tmp_path, monitor="accuracy")
    continued.load_state_dict(checkpoints.state_dict())
    assert _end_epoch(continued, 1, 0.5) == ["last.ckpt"]
    assert continued.best_epoch == 0


def test_last_is_saved_every_so_many_steps(checkpoints: RunCheckpoints) -> None:
    saved = []
    for step in range(1, 8):
        trainer = Trainer(global_step=step)
        checkpoints.on_train_batch_end(trainer, None, None, None, step - 1)
        saved.append(trainer.saved)
    assert [step for step, names in enumerate(saved, 1) if names == ["last.ckpt"]] == [3, 6]


def test_nothing_is_saved_between_the_batches_of_a_step(checkpoints: RunCheckpoints) -> None:
    saved = []
    for batch in range(8):
        trainer = Trainer(global_step=(batch + 1) // 2, accumulate_grad_batches=2)
        checkpoints.on_train_batch_end(trainer, None, None, None, batch)
        saved.append(trainer.saved)
    assert [batch for batch, names in enumerate(saved) if names] == [5]
    checkpoints.interrupted = True
    checkpoints.on_train_batch_end(Trainer(accumulate_grad_batches=2), None, None, None, 8)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.on_train_batch_end(Trainer(accumulate_grad_batches=2), None, None, None, 9)


def test_an_interrupted_rank_stops_all(checkpoints: RunCheckpoints) -> None:
    asked = []

    def any_of(value: bool, *, all: bool) -> bool:
        asked.append((value, all))
        return True

    trainer = Trainer(world_size=2, strategy=SimpleNamespace(reduce_boolean_decision=any_of))
    with pytest.raises(KeyboardInterrupt):
        checkpoints.on_train_batch_end(trainer, None, None, None, 0)
    assert (trainer.saved, asked) == (["last.ckpt"], [(False, False)])


def test_last_step_of_an_epoch_is_left_to_its_end(checkpoints: RunCheckpoints) -> None:
    trainer = Trainer(global_step=3, is_last_batch=True)
    checkpoints.interrupted = True
    checkpoints.on_train_batch_end(trainer, None, None, None, 2)
    assert trainer.saved == []
    with pytest.raises(KeyboardInterrupt):
        checkpoints.on_train_epoch_start(trainer, None)


def test_the_first_logged_figure_decides(tmp_path: Path) -> None:
    checkpoints = RunCheckpoints(tmp_path, monitor=["f1", "accuracy", "loss"], mode="min")
    for epoch, (accuracy, loss) in enumerate([(0.5, 1.0), (0.6, 0.5)]):
        metrics = {"loss": torch.tensor(loss), "accuracy": torch.tensor(accuracy)}
        checkpoints.on_train_epoch_end(Trainer(current_epoch=epoch, callback_metrics=metrics), None)
    assert (checkpoints.best_epoch, checkpoints.best_score) == (0, 0.5)


def test_a_run_of_more_processes_is_refused(checkpoints: RunCheckpoints) -> None:
    checkpoint: dict[str, object] = {}
    checkpoints.on_save_checkpoint(Trainer(world_size=2), None, checkpoint)
    checkpoints.on_load_checkpoint(Trainer(world_size=2), None, checkpoint)
    with pytest.raises(UserError, match=r"trained by 2 processes and cannot continue with 1, .*devices 2"):
        checkpoints.on_load_checkpoint(Trainer(), None, checkpoint)


@pytest.mark.parametrize("end", ["on_train_end", "on_exception"])
def test_first_interrupt_saves_and_the_handler_is_given_back(checkpoints: RunCheckpoints, end: str) -> None:
    former = signal.getsignal(signal.SIGINT)
    checkpoints.on_train_start(Trainer(), None)
    signal.raise_signal(signal.SIGINT)
    trainer = Trainer(global_step=1)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.on_train_batch_end(trainer, None, None, None, 0)
    assert trainer.saved == ["last.ckpt"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    getattr(checkpoints, end)(*([Trainer(), None] if end == "on_train_end" else [Trainer(), None, OSError()]))
    assert signal.getsignal(signal.SIGINT) is former
