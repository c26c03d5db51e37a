"""An epoch of `sru classify fit --recipe sst2`, with the kernels and with the reference operators.

`nox -s bench -- classification --embeddings FILE` writes docs/benchmarks/classification.json and .md. Within
one Lightning training run, with all callbacks and loggers, the two take turns of several steps, so that other
load on the machine affects both equally. A step lasts from one batch to the next, including data loading. The
data is read from `--data-dir` or `$SRU_DATA`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from sru_apps.tasks.classify import TASK
from sru_apps.tasks.classify.data import Batch
from sru_apps.tasks.classify.module import ClassifierModule
from sru_apps.train.console import flush_denormals, quiet_lightning
from sru_apps.train.fit import Fit
from sru_nn import backend

# The benchmarks of sru-nn contain the helpers that record runs.
sys.path.append(str(Path(__file__).resolve().parents[2] / "sru-nn" / "benchmarks"))

from measure import compare, summary
from record import described, machine, save, save_targets, target

CONTENDERS: tuple[backend.Choice, ...] = ("kernels", "reference")
TURN = 20
"""Steps per turn. The first two are not timed, since they run with the caches of the other contender."""
TARGET = 2.0


class Turns(Callback):
    """Switches the backend every few steps, and times steps and validations."""

    def __init__(self) -> None:
        self.steps: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        self.validations: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        self.ends: list[float] = []
        self._since = 0.0
        self._done = 0

    def _choose(self, turn: int) -> None:
        self._contender = CONTENDERS[turn % 2]
        backend.choose(self._contender)

    def _lap(self) -> float:
        since, self._since = self._since, time.perf_counter()
        return self._since - since

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the end of the last epoch. The clock starts before the first batch is loaded."""
        end = self._lap()
        if trainer.current_epoch > 0:
            self.ends.append(end)
        self._choose(self._done // TURN)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record a step."""
        step = self._lap()
        if trainer.current_epoch > 0 and self._done % TURN >= 2:
            self.steps[self._contender].append(step)
        self._done += 1
        self._choose(self._done // TURN)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._choose(trainer.current_epoch)
        self._lap()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record a validation; logging and checkpointing follow."""
        self.validations[self._contender].append(self._lap())


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", help="word vectors; they also determine the vocabulary")
    parser.add_argument("--data-dir", help="folder with the data; default: $SRU_DATA")
    parser.add_argument("--epochs", type=int, default=9, help="number of epochs; the first is a warm-up")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    options = parser.parse_args()
    given = {"--data-dir": options.data_dir, "--embeddings": options.embeddings}
    arguments = [f"{name}={value}" for name, value in given.items() if value is not None]
    flush_denormals()
    quiet_lightning()
    with tempfile.TemporaryDirectory() as folder:
        shared = ["--recipe=sst2", "--trainer.accelerator=cpu", f"--runs-dir={folder}", "--name=run"]
        job = Fit(TASK, [*shared, f"--trainer.max_epochs={options.epochs}", *arguments])
        job.module.start(job.data)
        batches = list(job.data.train_dataloader())
        error = compare(*(loss_and_gradients(job.module, batches[0], name) for name in CONTENDERS))
        turns = Turns()
        job.trainer.callbacks.append(turns)
        job.trainer.fit(job.module, job.data)
    facts = machine("cpu")
    del facts["backend"]
    end = statistics.median(turns.ends)
    rows = {}
    for name in CONTENDERS:
        steps, validation = turns.steps[name], statistics.median(turns.validations[name])
        epoch = statistics.mean(steps) * len(batches) + validation + end
        rows[name] = {"step": asdict(summary(steps)), "validation": validation, "epoch": epoch}
    result = {
        "machine": facts,
        "words": job.module.config.vocab_size,
        "batches": len(batches),
        "error": error,
        "end": end,
        "rows": rows,
    }
    save(options.out, "classification", result, page(result))
    save_targets(options.out, "classification", facts, [target_row(result)])


def loss_and_gradients(module: ClassifierModule, batch: Batch, choice: backend.Choice) -> list[Tensor]:
    """Return the loss and the gradients of a batch, with fixed dropout."""
    module.train()
    torch.manual_seed(0)
    with backend.using(choice):
        loss = module.training_step(batch, 0)
        return [loss.detach(), *torch.autograd.grad(loss, list(module.parameters()))]


def page(result: Mapping[str, Any]) -> Iterator[str]:
    """Write the report."""
    yield "# Sentence classification on the CPU"
    yield ""
    yield f"Written by `nox -s bench -- classification --embeddings FILE`: {described(result['machine'])}."
    yield ""
    yield "One epoch of SST-2, with the kernels and with the reference operators:"
    yield f"{result['batches']} steps of up to 32 sentences, {result['words']:,} words, and a validation."
    yield f"Logs and checkpoints add {result['end']:.2f} s. The two take turns of {TURN} steps in one run."
    yield f"The loss and the gradients of a batch agree to {result['error']:.1e} of the largest."
    yield ""
    yield "| operators | step, ms: median (quartiles) | validation, s | epoch, s |"
    yield "| --- | --- | --- | --- |"
    for name, row in result["rows"].items():
        low, median, high = (1e3 * row["step"][key] for key in ("low", "median", "high"))
        step = f"{median:.1f} ({low:.1f} to {high:.1f})"
        yield f"| {name} | {step} | {row['validation']:.2f} | {row['epoch']:.2f} |"
    yield ""
    yield f"With the kernels an epoch is {speedup(result):.2f} times as fast. An epoch is the mean step"
    yield "times the number of steps, plus validation, logs and checkpoints."


def speedup(result: Mapping[str, Any]) -> float:
    """Return the speedup of an epoch with the kernels over the reference."""
    ours, theirs = (result["rows"][name]["epoch"] for name in CONTENDERS)
    return float(theirs / ours)


def target_row(result: Mapping[str, Any]) -> str:
    """Return the target's row."""
    what, ratio = "an epoch of SST-2, kernels against reference operators", speedup(result)
    return target(what, f"at least {TARGET:g}x", f"{ratio:.2f}x", ratio >= TARGET)


if __name__ == "__main__":
    main()
