"""Annotation in several processes."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import get_context, parent_process

from sru_data.annotation import Annotated, Annotator, annotator_of
from sru_data.errors import DataError

_BATCHES_PER_PROCESS = 2


def annotate_batches(
    annotator: Annotator, batches: Iterable[Sequence[str]], *, processes: int
) -> Generator[list[Annotated], None, None]:
    """Yield the annotations of batches of texts, in order; a few batches are read ahead.

    The processes end with this one, however it ends. A script that calls this for several processes must do
    so below `if __name__ == "__main__":`, since each of them imports it.

    Args:
        annotator: The annotator.
        batches: The texts.
        processes: How many processes annotate at the same time; 1 for this one.

    Raises:
        DataError: A process was killed or could not start.
    """
    if processes == 1:
        for batch in batches:
            yield list(annotator.annotate(batch))
        return
    description = dict(annotator.description)
    # Not forked: torch may have threads, which a fork does not copy.
    executor = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin)
    pending: deque[Future[list[Annotated]]] = deque()
    try:
        for batch in batches:
            with _interrupts_blocked():
                pending.append(executor.submit(_annotate, description, batch))
            if len(pending) == _BATCHES_PER_PROCESS * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            f"annotation: expected {processes} processes that work to the end, got one that was killed or "
            "did not start; use fewer processes if memory is short, and in a script, call this below "
            '`if __name__ == "__main__":`'
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Delay Ctrl-C; a process that is started meanwhile never gets it, not even before `_begin`."""
    # Windows has no such thing.
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end when it has ended, even if it was killed."""
    # Where signals can be blocked, this one is already.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _annotate(description: Mapping[str, str], texts: Sequence[str]) -> list[Annotated]:
    return list(_annotator(tuple(description.items())).annotate(texts))


@lru_cache(maxsize=1)
def _annotator(description: tuple[tuple[str, str], ...]) -> Annotator:
    return annotator_of(dict(description))
