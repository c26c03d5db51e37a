"""The console: a quiet Lightning, and one bar per epoch."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar
from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]

from sru_apps.train.history import History
from sru_apps.train.meters import rounded

_NOISE = (
    # About Lightning's own use of torch, which only its authors can change.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    # Nothing is changed in place after the network has returned it.
    r"FSDP2-wrapped module .* returned a view tensor",
)


def quiet_lightning() -> None:
    """Silence Lightning's announcements and tips, and those of its warnings that need no action here."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)


def wants_progress_bar() -> bool:
    """Whether standard output is a terminal; a log file gets one line per epoch instead of a bar."""
    return sys.stdout.isatty()


class EpochBar(TQDMProgressBar):
    """A bar per epoch, counted from 1, which is replaced by the line that `History` prints.

    Args:
        history: Provides the training loss since the last validation, and the time left in training.
    """

    def __init__(self, history: History | None = None) -> None:
        super().__init__(refresh_rate=5, leave=False)
        self.history = history
        self._shown: dict[str, Any] = {}
        self._next_look = 0.0

    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        """Show an epoch that is resumed in the middle."""
        super().on_train_start(trainer, *args)
        EpochBar.on_train_epoch_start(self, trainer, *args)

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Name the epoch, counted from 1."""
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Show the loss, the time left, and the figures of the last validation, but no logger's version."""
        metrics = super().get_metrics(trainer, pl_module)
        # Reading the loss waits for the GPU.
        if self.history is not None and trainer.training and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + 0.5
            left = self.history.seconds_left(trainer)
            self._shown = {"loss": f"{self.history.running_loss:.4f}"}
            self._shown |= {"left": rounded(left)} if left else {}
        return self._shown | {name: value for name, value in metrics.items() if name != "v_num"}


def flush_denormals() -> None:
    """Make this process treat denormal numbers as zero, if its processor can.

    Adam's moments of a word vector that rarely has a gradient decay until they are denormal (below 1.2e-38 in
    float32), and stay denormal: 0.9 times the smallest of them rounds to itself. A CPU takes a hundred times
    as long for such numbers. Most words of a vocabulary are rare, and every step updates all of them, so each
    epoch would be slower than the previous one.

    The setting belongs to a thread, and new threads inherit it: call this before torch starts its own, at the
    very beginning of a command. It lasts for the rest of the process.
    """
    torch.set_flush_denormal(True)


class Terminal:
    """A stream to a terminal that may be closed: output is then lost without an error.

    A shell passes on the SIGHUP of its terminal shortly after the first write fails.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        """Delegate everything else to the stream."""
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, if possible."""
        with suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the buffers, if possible."""
        with suppress(OSError):
            self.stream.flush()


def outlive_terminal() -> None:
    """Keep running after the terminal of standard output and error closes, until a signal arrives."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream.isatty():
            setattr(sys, name, Terminal(stream))


_STAGES = {
    "waiting": "waiting for another process to prepare it",
    "tokenizer": "making the vocabulary",
    "vocabulary": "making the vocabularies",
    "checking": "reading the files",
}


@contextmanager
def preparation_bar(name: str, *, unit: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show the progress of a preparation: a bar per split on a terminal, a line per stage in a log file.

    Args:
        name: The name of the data.
        unit: The unit of progress: B for bytes, or a word.

    Yields:
        A function to report the stage, how much of it is done, and its total, if known.
    """
    shown = ""

    def report(stage: str, done: int, total: int | None) -> None:
        nonlocal shown
        if stage != shown:
            shown = stage
            bar.set_description(shown)
            bar.reset(total)
            if bar.disable or shown in _STAGES:
                print(f"{name}: {_STAGES.get(shown, f'preparing the {shown} split')}", flush=True)
        bar.update(done - bar.n)

    unit = unit if unit == "B" else f" {unit}"
    with tqdm(unit=unit, unit_scale=unit == "B", leave=False, disable=not sys.stderr.isatty()) as bar:
        yield report
