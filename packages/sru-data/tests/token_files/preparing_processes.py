"""Processes that prepare the same folder, some of them killed; run by test_processes.py.

Everything is imported once, and each process is a fork of this one.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import filelock  # noqa: F401

from sru_data.texts import TextSource
from sru_data.token_files import Progress, prepare
from sru_data.tokenizers import CharTokenizer


class SmallBlocks:
    """A text in blocks of one line."""

    def __init__(self, path: Path) -> None:
        self.source = TextSource.from_files(path)
        self.name, self.size, self.fingerprint = self.source.name, self.source.size, self.source.fingerprint

    def blocks(self, skip: int = 0):
        (content,) = self.source.blocks()
        yield from content.splitlines(keepends=True)[skip:]


class Corpus:
    """The corpus in a folder."""

    name = "lines"
    test = None

    def __init__(self, folder: Path) -> None:
        self.train = SmallBlocks(folder / "train.txt")
        self.validation = SmallBlocks(folder / "validation.txt")


def make_tokenizer() -> CharTokenizer:
    return CharTokenizer.train(["line number 0123456789\n"])


def fork(work: Callable[[], object]) -> int:
    """Start a process that runs `work` and nothing else."""
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return process


def end_of(process: int) -> int:
    """Wait for a process; return its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def wait_for(path: Path, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path.name} did not come")
        time.sleep(0.005)


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def prepare_until_killed(corpus: Corpus, folder: Path, *, stage: str, tokens: int) -> None:
    def watch(at: Progress) -> None:
        if at.stage == stage and at.tokens >= tokens:
            kill_myself()

    prepare(corpus, folder, tokenizer=make_tokenizer, progress=watch)


def prepare_until_renamed(corpus: Corpus, folder: Path, name: str) -> None:
    """Die right before a file is renamed to `name`."""
    rename = os.replace

    def watch(source: Path, target: Path) -> None:
        if Path(target).name == name:
            kill_myself()
        rename(source, target)

    os.replace = watch
    prepare(corpus, folder, tokenizer=make_tokenizer)


def one_after_the_other(corpus: Corpus, folder: Path) -> list[int]:
    runs = [
        lambda: prepare_until_killed(corpus, folder, stage="tokenizer", tokens=0),
        lambda: prepare_until_renamed(corpus, folder, "corpus.json"),
        lambda: prepare_until_killed(corpus, folder, stage="train", tokens=50),
        lambda: prepare_until_killed(corpus, folder, stage="train", tokens=500),
        lambda: prepare_until_renamed(corpus, folder, "train.json"),
        lambda: prepare_until_renamed(corpus, folder, "train.tokens"),
        lambda: prepare_until_killed(corpus, folder, stage="validation", tokens=1),
        lambda: prepare(corpus, folder, tokenizer=make_tokenizer),
    ]
    return [end_of(fork(run)) for run in runs]


def at_once(corpus: Corpus, folder: Path, marks: Path) -> list[int]:
    def work(at: Progress) -> None:
        if at.stage == "train" and at.tokens:
            (marks / "working").touch()
            wait_for(marks / "waiting")

    def wait(at: Progress) -> None:
        (marks / at.stage).touch()

    def never() -> CharTokenizer:
        raise AssertionError("the other process has made the tokenizer")

    working = fork(lambda: prepare(corpus, folder, tokenizer=make_tokenizer, progress=work))
    wait_for(marks / "working")
    waiting = fork(lambda: prepare(corpus, folder, tokenizer=never, progress=wait))
    return [end_of(working), end_of(waiting)]


if __name__ == "__main__":
    os.fsync = lambda file: None  # only a power failure would show the difference
    folder = Path(sys.argv[1])
    corpus = Corpus(folder)
    print(one_after_the_other(corpus, folder / "killed"), flush=True)
    print(at_once(corpus, folder / "together", folder), flush=True)
