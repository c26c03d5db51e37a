from __future__ import annotations

import time

import pytest

from sru_apps.training.step_time import StepTime


def test_median_of_the_steps_without_what_lies_between(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    timer, nothing = StepTime(), [None] * 2
    for step in (1.0, 5.0, 2.0):
        timer.on_train_batch_start(*nothing, None, 0)
        now += step
        timer.on_train_batch_end(*nothing, None, None, 0)
        now += 50
    assert timer.seconds == [1.0, 5.0, 2.0]
    assert timer.median == 2.0
