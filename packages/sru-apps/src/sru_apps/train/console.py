"""The console: a quiet Lightning, one bar per epoch, and text in UTF-8."""

from __future__ import annotations

import io
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar
from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]

from sru_apps.train.errors import UserError
from sru_apps.train.history import History
from sru_apps.train.meters import rounded
from sru_data.reading import without_mark
from sru_data.token_files import Progress

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
    """Go on when the terminal of standard output and error is closed, until a signal tells to stop."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream.isatty():
            setattr(sys, name, Terminal(stream))


def use_utf8() -> None:
    """Print UTF-8, whatever the locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


MAX_LINE = 1 << 20
"""The most bytes of a line or of a prompt; a longer one is refused before it fills the memory."""
_CHUNK = 1 << 16


def decode(content: bytes, name: str, limit: int = MAX_LINE) -> str:
    """Decode UTF-8.

    Args:
        content: The text.
        name: Where it comes from.
        limit: The most bytes.

    Raises:
        UserError: It is longer, or not UTF-8.
    """
    if len(content) > limit:
        raise UserError(f"{name} is longer than {limit:,} bytes; shorten it")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 at byte {error.start}; convert it first") from error


def read_text(file: str | None) -> str:
    """Read a file in UTF-8, or standard input.

    Raises:
        UserError: It cannot be read, is not UTF-8, or is longer than `MAX_LINE`.
        DataError: It is UTF-16.
    """
    with _opened(file) as (stream, name):
        return decode(without_mark(stream.read(MAX_LINE + 1), path=name), name, MAX_LINE)


@contextmanager
def input_lines(file: str | None = None, *, limit: int = MAX_LINE) -> Iterator[Iterator[list[str]]]:
    """Open a file, or standard input, to read its lines as they come.

    Args:
        file: The file.
        limit: The most bytes of a line.

    Yields:
        An iterator over lines without their ends; those that came together are in one list.

    Raises:
        UserError: The file cannot be read, or, later, a line is not UTF-8 or too long.
        DataError: It is UTF-16.
    """
    with _opened(file) as (stream, name):
        yield _lines(stream, name, limit)


@contextmanager
def _opened(file: str | None) -> Iterator[tuple[Any, str]]:
    if file is None:
        # There is none where the program was started without one; a replaced one may hold no bytes.
        text = sys.stdin.read() if sys.stdin and not hasattr(sys.stdin, "buffer") else ""
        yield getattr(sys.stdin, "buffer", io.BytesIO(text.encode())), "standard input"
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - closed below; an error in there is another one
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    with stream:
        yield stream, file


def _lines(stream: Any, name: str, limit: int) -> Iterator[list[str]]:
    def text(number: int, line: bytes) -> str:
        line = without_mark(line, path=name) if number == 1 else line
        return decode(line, f"line {number} of {name}", limit)

    count, rest = 0, b""
    while chunk := stream.read1(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield [text(number, line) for number, line in enumerate(lines, count + 1)]
        count += len(lines)
        if len(rest) > limit:
            break
    if rest and (last := text(count + 1, rest)):
        yield [last]


_STAGES = {"waiting": "another process prepares it; waiting", "tokenizer": "making the vocabulary"}


@contextmanager
def preparation_bar(name: str) -> Iterator[Callable[[Progress], None]]:
    """Show how far a preparation has come: a bar per split on a terminal, a line per stage in a log file.

    Args:
        name: What is prepared.

    Yields:
        A function to report the progress to.
    """
    shown = ""

    def report(progress: Progress) -> None:
        nonlocal shown
        if progress.stage != shown:
            shown = progress.stage
            bar.set_description(shown)
            bar.reset(progress.total)
            if bar.disable or shown in _STAGES:
                print(f"{name}: {_STAGES.get(shown, f'preparing the {shown} split')}", flush=True)
        bar.update(progress.bytes - bar.n)

    with tqdm(unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty()) as bar:
        yield report
