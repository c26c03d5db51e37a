"""Steps of `sru lm fit`, with all callbacks and loggers, against a bare loop with the same model and text."""

from __future__ import annotations

import contextlib
import io
import itertools
import tempfile
import time
from typing import Any

import torch
from measure import summary
from pytorch_lightning import Callback, LightningModule, Trainer

from sru_apps.nn.states import detach_state
from sru_apps.tasks.lm import TASK
from sru_apps.train.console import flush_denormals, quiet_lightning
from sru_apps.train.fit import Fit
from sru_apps.train.optimizers import build_optimizer

WARM_UP = 10
MODEL = {"encoder": "sru", "embedding_size": 128, "hidden_size": 160, "num_layers": 2}


class StepTimer(Callback):
    """Records the start time of each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Record the time."""
        self.times.append(time.perf_counter())


def overhead(*, rounds: int = 4, steps: int = 150) -> dict[str, Any]:
    """Measure both in turns.

    Args:
        rounds: The number of rounds.
        steps: Steps per round, after the warm-up; warm-up and steps must fit into one epoch.

    Returns:
        `bare` and `trainer`, the times of a step, and `what`, a description of the setting.
    """
    flush_denormals()
    quiet_lightning()
    found: dict[str, list[float]] = {"bare": [], "trainer": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, train in (("trainer", _trainer), ("bare", _bare)):
                times = train(folder, WARM_UP + steps + 1)[WARM_UP:]
                found[name] += [later - earlier for earlier, later in itertools.pairwise(times)]
    layers, size = MODEL["num_layers"], MODEL["hidden_size"]
    what = (
        f"SRU, {layers} layers of D = {size}, characters, T = 64, B = 32, AdamW, clipping at 1; "
        f"{rounds} rounds of {steps} steps"
    )
    return {"what": what, **{name: summary(values) for name, values in found.items()}}


def _job(folder: str, steps: int) -> Fit:
    options = [f"--model.{name}={value}" for name, value in MODEL.items()]
    options += ["--data.name=python-help", "--data.batch_size=32", "--data.length=64"]
    options += [f"--trainer.max_steps={steps}", "--trainer.accelerator=cpu"]
    job = Fit(TASK, [*options, f"--runs-dir={folder}", "--name=run"])
    job.module.start(job.data)
    return job


def _trainer(folder: str, steps: int) -> list[float]:
    job = _job(folder, steps)
    timer = StepTimer()
    job.trainer.callbacks.insert(0, timer)
    with contextlib.redirect_stdout(io.StringIO()):
        job.trainer.fit(job.module, job.data)
    return timer.times


def _bare(folder: str, steps: int) -> list[float]:
    job = _job(f"{folder}/bare", steps)
    model = job.module.network.train()
    optimizer = build_optimizer(job.module, job.module.optimizer, fused=True)
    state, times = None, []
    # The bare loop uses the same loader, which builds segments on demand.
    for segment in itertools.islice(job.data.train_dataloader(), steps):
        times.append(time.perf_counter())
        optimizer.zero_grad()
        nll, state = model.loss(segment.inputs, segment.targets, state)
        nll.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state = detach_state(state)
    return times
