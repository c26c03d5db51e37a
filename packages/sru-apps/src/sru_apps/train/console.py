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
    # Lightning's own use of torch, which only its authors can change.
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
    """One line for the epoch, counted from 1, that makes room for the line that `History` prints.

    Args:
        history: Knows the training loss since the last validation, and the time left of the whole training.
    """

    def __init__(self, history: History | None = None) -> None:
        super().__init__(refresh_rate=5, leave=False)
        self.history = history
        self._shown: dict[str, Any] = {}
        self._next_look = 0.0

    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        """Show an epoch that is continued, which does not start again."""
        super().on_train_start(trainer, *args)
        EpochBar.on_train_epoch_start(self, trainer, *args)

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Name the epoch as users count."""
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Show the loss, the time left, and the figures of the last validation, but no logger's version."""
        metrics = super().get_metrics(trainer, pl_module)
        # To look at the loss is to wait for a GPU.
        if self.history is not None and trainer.training and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + 0.5
            left = self.history.seconds_left(trainer)
            self._shown = {"loss": f"{self.history.running_loss:.4f}"}
            self._shown |= {"left": rounded(left)} if left else {}
        return self._shown | {name: value for name, value in metrics.items() if name != "v_num"}


def flush_denormals() -> None:
    """Let this process treat denormal numbers as zero, where its processor can.

    Adam's moments of a word vector that hardly ever has a gradient decay until they are denormal (below
    1.2e-38 in float32), and stay so: 0.9 times the smallest of them rounds to itself. A CPU takes a hundred
    times as long for such a number. In a vocabulary most words are rare, and every step visits them all, so
    each epoch would be slower than the one before.

    The setting belongs to a thread, and a new thread inherits it: call this before torch starts its own, at
    the very beginning of a command. It stays for the rest of the process.
    """
    torch.set_flush_denormal(True)


class Terminal:
    """A stream to a terminal that may be closed: what is printed then is lost, and no error.

    A shell hands on the SIGHUP of its terminal a little later than the first write fails.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        """Leave all else to the stream."""
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, if that is possible."""
        with suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is in buffers, if that is possible."""
        with suppress(OSError):
            self.stream.flush()


def outlive_terminal() -> None:
    """Keep running when the terminal of standard output and error closes, until a signal stops it."""
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
    """Show how far a preparation has come: a bar per split on a terminal, a line per stage in a log file.

    Args:
        name: What is prepared.
        unit: What is counted: B for bytes, or a word.

    Yields:
        A function to report the stage, how much of it is done, and how much it is, if known.
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
