"""Runs `sru` in processes forked from one that has imported everything, so that imports run only once.

The fixture `forked` of conftest.py starts this program. Each line of stdin is a list of `Request`, for
processes that run concurrently; a line of stdout has their exit statuses, -9 for one that was killed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypedDict

from sru_apps.cli import main
from sru_apps.train.checkpoints import SeedEveryStep
from sru_data.datasets.classification import SOURCES
from sru_data.datasets.sources import Source


class Request(TypedDict):
    """A process: what to run, where its output goes, and before which step it sends itself which signal."""

    args: list[str]
    environment: dict[str, str]
    stop_before: tuple[int, str] | None
    output: str
    """The path of a file for stdout; stderr goes next to it, to a file that ends in `.err`."""


Forked = Callable[[Sequence[Request]], list[int]]


def assert_went_well(outputs: Path) -> None:
    assert json.loads((outputs / "ends").read_text()) == [0, 0], (outputs / "0.err").read_text()
    assert (outputs / "0.err").read_text() == (outputs / "1.err").read_text() == ""


def as_torchrun_does(
    args: list[str], outputs: Path, stop_before: tuple[int, str] | None = None
) -> list[Request]:
    """Return requests for two processes that connect to each other."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    common = dict(os.environ, OMP_NUM_THREADS="1", TORCHELASTIC_RUN_ID="test", GROUP_RANK="0", WORLD_SIZE="2")
    common |= {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        Request(
            args=args,
            environment={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stop_before=stop_before,
            output=str(outputs / str(rank)),
        )
        for rank in range(2)
    ]


def of_any_size(source: Source) -> Source:
    """Remove the line counts of the real sets, which those of the tests do not match."""
    parts = ("train", "validation", "test")
    return replace(source, **{part: replace(getattr(source, part), lines=None) for part in parts})


def stopping(step: int, number: signal.Signals) -> Callable[..., None]:
    """Return a stand-in for `SeedEveryStep.on_train_batch_start` that sends a signal, once, before a step."""
    seed, sent = SeedEveryStep.on_train_batch_start, []

    def stop_and_seed(self: SeedEveryStep, trainer: Any, *args: Any) -> None:
        if trainer.global_step == step and not sent:
            sent.append(step)
            os.kill(os.getpid(), number)
        seed(self, trainer, *args)

    return stop_and_seed


def run(request: Request) -> NoReturn:
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, ending in ((1, ""), (2, ".err")):
        os.dup2(os.open(request["output"] + ending, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if request["stop_before"] is not None:
        step, name = request["stop_before"]
        SeedEveryStep.on_train_batch_start = stopping(step, signal.Signals[name])  # type: ignore[method-assign]
    status = main(request["args"])
    sys.stdout.flush()
    os._exit(status)


def serve() -> None:
    # Next to this program; the tests import it as a module of their package.
    from shortcuts import take_shortcuts

    import sru_apps.tasks.classify.module
    import sru_apps.tasks.lm.module
    import sru_apps.tasks.speech.module
    import sru_apps.tasks.squad.module
    import sru_apps.tasks.translate.module
    import sru_apps.train.fit  # noqa: F401

    take_shortcuts(setattr)
    SOURCES["sst2"] = of_any_size(SOURCES["sst2"])
    for line in sys.stdin:
        children = []
        for request in json.loads(line):
            child = os.fork()
            if child == 0:
                run(request)
            children.append(child)
        print(
            json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True
        )


if __name__ == "__main__":
    serve()
