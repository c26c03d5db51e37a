"""An epoch of `sru classify fit --recipe sst2`, through the kernels and through the reference operators.

`python packages/sru-apps/benchmarks/bench_classification.py --embeddings FILE` in an environment with the
four packages, from the root of the repository. Writes docs/benchmarks/classification.json and .md. One
training by Lightning, with all callbacks and loggers: the two take turns of some steps, so that what else the
machine does falls on both alike. A step lasts from one batch to the next, reading included. `$SRU_DATA` or
`--data-dir` says where the data lie.
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

# How a run is described is known to the benchmarks of sru-nn.
sys.path.append(str(Path(__file__).resolve().parents[2] / "sru-nn" / "benchmarks"))

from measure import compare, summary
from record import described, machine, save

CONTENDERS: tuple[backend.Choice, ...] = ("kernels", "reference")
TURN = 20
"""Steps of a turn; the first two, which find caches and memory as the other has left them, do not count."""
TARGET = 2.0


class Turns(Callback):
    """Changes the backend now and then, and notes how long steps and validations take."""

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
        """Note how the last epoch ended; the clock runs before the first batch is read."""
        end = self._lap()
        if trainer.current_epoch > 0:
            self.ends.append(end)
        self._choose(self._done // TURN)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note a step."""
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
        """Note a validation; logs and checkpoints follow."""
        self.validations[self._contender].append(self._lap())


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", help="word vectors, which also decide how many words there are")
    parser.add_argument("--data-dir", help="folder with the data; default: $SRU_DATA")
    parser.add_argument("--epochs", type=int, default=9, help="the first warms up")
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
        "words": len(job.data.tokenizer),
        "batches": len(batches),
        "error": error,
        "end": end,
        "rows": rows,
    }
    save(options.out, "classification", result, page(result))


def loss_and_gradients(module: ClassifierModule, batch: Batch, choice: backend.Choice) -> list[Tensor]:
    """Return those of a batch, always with the same dropout."""
    module.train()
    torch.manual_seed(0)
    with backend.using(choice):
        loss = module.training_step(batch, 0)
        return [loss.detach(), *torch.autograd.grad(loss, list(module.parameters()))]


def page(result: Mapping[str, Any]) -> Iterator[str]:
    """Say it in words."""
    yield "# An epoch of SST-2, kernels against reference operators"
    yield ""
    yield f"{described(result['machine'])}; `nox -s bench -- classification --embeddings FILE`."
    yield f"{result['batches']} steps of up to 32 sentences, {result['words']:,} words, then a validation;"
    yield f"logs and checkpoints take {result['end']:.2f} s more. One training, in which the two take turns"
    yield f"of {TURN} steps. Loss and gradients of a batch agree to {result['error']:.1e} of the largest."
    yield ""
    yield "| operators | step, ms: median (quartiles) | validation, s | epoch, s |"
    yield "| --- | --- | --- | --- |"
    for name, row in result["rows"].items():
        low, median, high = (1e3 * row["step"][key] for key in ("low", "median", "high"))
        step = f"{median:.1f} ({low:.1f} to {high:.1f})"
        yield f"| {name} | {step} | {row['validation']:.2f} | {row['epoch']:.2f} |"
    ours, theirs = (result["rows"][name]["epoch"] for name in CONTENDERS)
    met = "met" if theirs / ours >= TARGET else "missed"
    yield ""
    yield f"Through the kernels an epoch is {theirs / ours:.2f} times as fast (target {TARGET:g}: {met})."
    yield "It is the mean step times the number of steps, the validation, and the end of the epoch."


if __name__ == "__main__":
    main()
