from __future__ import annotations

import math
import warnings
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ExponentialLR, OneCycleLR

from sru_apps.train.optimizers import LearningRate, OptimizerConfig, ScheduleName, build_optimizer


def make(total: int = 20, **options: Any) -> tuple[torch.optim.Optimizer, LearningRate]:
    config = OptimizerConfig(lr=0.5, **options)
    optimizer = build_optimizer(torch.nn.Linear(2, 2), config)
    return optimizer, LearningRate(optimizer, config, total_steps=total)


def rates(optimizer: torch.optim.Optimizer, schedule: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_constant_after_the_warm_up():
    assert rates(*make(warmup_steps=4), 6) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])


def test_noam():
    found = rates(*make(schedule="noam", warmup_steps=4), 16)
    assert found[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert found[15] == pytest.approx(0.5 * math.sqrt(4 / 16))


def test_cosine():
    found = rates(*make(schedule="cosine", warmup_steps=2, final_fraction=0.1), 25)
    assert found[2] == pytest.approx(0.5)
    assert found[11] == pytest.approx(0.5 * (0.1 + 0.9 / 2))
    assert found[20:] == pytest.approx([0.05] * 5)


@pytest.mark.parametrize("warmup_steps", [0, 6])
def test_one_cycle_is_that_of_torch(warmup_steps: int):
    optimizer, schedule = make(schedule="one-cycle", warmup_steps=warmup_steps)
    other = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = OneCycleLR(other, 0.5, total_steps=20, pct_start=(warmup_steps or 6) / 20)
    for step in range(20):
        ours, expected = optimizer.param_groups[0], other.param_groups[0]
        assert ours["lr"] == pytest.approx(expected["lr"], rel=1e-6)
        assert ours["betas"] == pytest.approx(expected["betas"])
        optimizer.step()
        other.step()
        schedule.step()
        if step < 19:
            theirs.step()
    assert optimizer.param_groups[0]["lr"] < 1e-5, "a step too many is no error"


def test_exponential():
    optimizer, schedule = make(schedule="exponential", gamma=0.5, gamma_from_epoch=3, warmup_steps=1)
    found = []
    for epoch in range(1, 6):
        schedule.begin_epoch(epoch)
        found += rates(optimizer, schedule, 2)
    assert found == pytest.approx([0.25, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625])


def test_exponential_is_that_of_torch():
    optimizer, schedule = make(schedule="exponential", gamma=0.9)
    other = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = ExponentialLR(other, gamma=0.9)
    for epoch in range(1, 5):
        schedule.begin_epoch(epoch)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(other.param_groups[0]["lr"])
        for step in (optimizer, schedule, optimizer, schedule, other, theirs):
            step.step()


def test_plateau():
    optimizer, schedule = make(schedule="plateau", plateau_patience=1)
    seen = []
    for loss in [3.0, 2.0, 2.0, 2.5, 1.9, 2.0, 2.0]:
        schedule.validated(loss)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.125


def test_validations_and_epochs_matter_to_their_schedules_only():
    optimizer, schedule = make(schedule="cosine")
    for _ in range(5):
        schedule.validated(1.0)
        schedule.begin_epoch(100)
    assert optimizer.param_groups[0]["lr"] == 0.5


@settings(max_examples=30)
@given(
    name=st.sampled_from(get_args(ScheduleName)),
    before=st.integers(0, 19),
    warmup=st.integers(1, 8),
)
def test_a_continued_schedule_is_the_undisturbed_one(name: Any, before: int, warmup: int):
    options = {"schedule": name, "warmup_steps": warmup}
    optimizer, schedule = make(**options)
    rates(optimizer, schedule, before)
    schedule.validated(1.0)
    schedule.validated(1.0)
    schedule.begin_epoch(3)
    again, continued = make(**options)
    again.load_state_dict(optimizer.state_dict())
    continued.load_state_dict(schedule.state_dict())
    with warnings.catch_warnings():
        # torch expects a step of this optimizer first.
        warnings.simplefilter("ignore")
        assert rates(again, continued, 5) == rates(optimizer, schedule, 5)
