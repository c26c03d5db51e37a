"""Work in several processes, with results in order."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import TypeVar

from sru_data.errors import DataError

Work = TypeVar("Work")
Result = TypeVar("Result")
_PIECES_PER_PROCESS = 2


def map_in_processes(
    function: Callable[[Work], Result], pieces: Iterable[Work], *, processes: int, doing: str
) -> Generator[Result, None, None]:
    """Yield a function's results for pieces of work, in order; a few pieces are read ahead.

    The worker processes end with this one, however it ends. A script that calls this must do so below
    `if __name__ == "__main__":`, since each process imports the script.

    Args:
        function: The function; it, the pieces and the results must be picklable.
        pieces: The pieces of work.
        processes: The number of worker processes.
        doing: What they do, for messages.

    Raises:
        DataError: A process was killed or could not start.
    """
    # Not forked: torch may have threads, which a fork does not copy.
    executor = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin)
    pending: deque[Future[Result]] = deque()
    try:
        for piece in pieces:
            with _interrupts_blocked():
                pending.append(executor.submit(function, piece))
            if len(pending) == _PIECES_PER_PROCESS * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            f"{doing}: expected {processes} processes to finish, got one that was killed or "
            "did not start; use fewer processes if memory is short, and in a script, call this below "
            '`if __name__ == "__main__":`'
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def count_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Delay Ctrl-C; a process started in the meantime never receives it, not even before `_begin` runs."""
    # Windows lacks `pthread_sigmask`.
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Leave Ctrl-C to the parent, and exit when the parent has exited, even if it was killed."""
    # If signals can be blocked, this one already is.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
