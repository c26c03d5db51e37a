from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
import torch

from sru_apps.train.checkpoints import RunCheckpoints
from sru_apps.train.errors import UserError


class Trainer(SimpleNamespace):
    """The parts of Lightning's trainer that the callback uses."""

    def __init__(self, **changes: object) -> None:
        super().__init__(
            **{
                "global_step": 1,
                "current_epoch": 0,
                "is_last_batch": False,
                "should_stop": False,
                "val_check_batch": math.inf,
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


def test_an_interrupted_rank_stops_all(checkpoints: RunCheckpoints) -> None:
    asked = []

    def any_of(value: bool, *, all: bool) -> bool:
        asked.append((value, all))
        return True

    trainer = Trainer(world_size=2, strategy=SimpleNamespace(reduce_boolean_decision=any_of))
    with pytest.raises(KeyboardInterrupt):
        checkpoints.on_train_batch_end(trainer, None, None, None, 0)
    # The ranks are asked whether there is anything to do, and whether to stop.
    assert (trainer.saved, asked) == (["last.ckpt"], [(False, False), (False, False)])


def test_the_first_logged_figure_decides(tmp_path: Path) -> None:
    checkpoints = RunCheckpoints(tmp_path, monitor=["f1", "accuracy", "loss"], mode="min")
    for epoch, (accuracy, loss) in enumerate([(0.5, 1.0), (0.6, 0.5)]):
        metrics = {"loss": torch.tensor(loss), "accuracy": torch.tensor(accuracy)}
        checkpoints.on_train_epoch_end(
            Trainer(current_epoch=epoch, is_last_batch=True, callback_metrics=metrics), None
        )
    assert (checkpoints.best_epoch, checkpoints.best_score) == (0, 0.5)


@pytest.mark.parametrize(
    ("mode", "scores", "epoch", "best"),
    [
        ("min", [math.nan, 5.0, 3.0], 2, 3.0),
        ("min", [4.0, math.nan, 5.0], 0, 4.0),
        ("max", [math.nan, math.inf, 3.0, 5.0], 3, 5.0),
        ("min", [-math.inf, math.nan], 0, None),
    ],
)
def test_figures_that_are_not_finite(
    tmp_path: Path, mode: Literal["min", "max"], scores: list[float], epoch: int, best: float | None
) -> None:
    checkpoints = RunCheckpoints(tmp_path, monitor="loss", mode=mode)
    trainers = [
        Trainer(current_epoch=i, is_last_batch=True, callback_metrics={"loss": torch.tensor(x)})
        for i, x in enumerate(scores)
    ]
    for trainer in trainers:
        checkpoints.on_train_epoch_end(trainer, None)
    assert (checkpoints.best_epoch, checkpoints.best_score) == (epoch, best)
    assert all("last.ckpt" in trainer.saved for trainer in trainers)


def test_a_run_of_more_processes_is_refused(checkpoints: RunCheckpoints) -> None:
    checkpoint: dict[str, object] = {}
    checkpoints.on_save_checkpoint(Trainer(world_size=2), None, checkpoint)
    checkpoints.on_load_checkpoint(Trainer(world_size=2), None, checkpoint)
    with pytest.raises(UserError, match=r"trained by 2 processes and cannot continue with 1, .*devices 2"):
        checkpoints.on_load_checkpoint(Trainer(), None, checkpoint)
