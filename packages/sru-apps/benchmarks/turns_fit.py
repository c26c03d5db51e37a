"""Training steps of the `sru` command, taken in turns with another process."""

from __future__ import annotations

import functools
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

# The benchmarks of sru-nn contain the protocol of a comparison.
sys.path.append(str(Path(__file__).resolve().parents[2] / "sru-nn" / "benchmarks"))

from turns import Calls, Case, serve

__all__ = ["Calls", "Fit", "run"]

STEPS = 12
"""Steps per turn; the first two are not timed."""
CHECKED = 5
"""After this many steps both processes must have the same weights."""


class Fit(Callback):
    """A case of `turns.serve`: a training run that pauses between turns.

    Args:
        arguments: The command line after `sru`.
    """

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self._go: queue.Queue[int] = queue.Queue()
        self._done: queue.Queue[list[float]] = queue.Queue()
        self._left = 0

    def begin(self) -> list[float]:
        """Start training, take `CHECKED` steps and return the norms of the weights."""
        trainings.put(self)
        self._go.put(CHECKED)
        return self._done.get()

    def turn(self) -> float:
        """Take the steps of a turn; return the seconds per step."""
        self._go.put(STEPS)
        return self._done.get()[0]

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Wait for the next turn if the last one has ended."""
        if self._left == 0:
            self._left, self._taken = self._go.get(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step, and end the turn after the last one."""
        self._left -= 1
        self._taken += 1
        if self._taken == 2:
            self._start = time.perf_counter()
        if self._left == 0 and self._taken == CHECKED:
            self._done.put([parameter.detach().norm().item() for parameter in pl_module.parameters()])
        elif self._left == 0:
            self._done.put([(time.perf_counter() - self._start) / (STEPS - 2)])


trainings: queue.Queue[Fit] = queue.Queue()


def run(cases: Mapping[str, Case]) -> None:
    """Serve requests; training runs in the main thread, since only that one can handle signals."""
    from sru_apps.cli import main

    threading.Thread(target=lambda: (serve(cases), os._exit(0)), daemon=True).start()
    sys.stdout = sys.stderr  # stdout is a pipe for the results
    fit = trainings.get()
    initialise = Trainer.__init__

    @functools.wraps(initialise)  # the command line derives its options from the signature
    def with_callback(trainer: Trainer, *args: Any, callbacks: Any = None, **options: Any) -> None:
        initialise(trainer, *args, callbacks=[*(callbacks or []), fit], **options)

    Trainer.__init__ = with_callback  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        main([*fit.arguments, f"--runs-dir={folder}"])
    os._exit(1)  # training ended before the comparison
