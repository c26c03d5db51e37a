"""Real processes: one that fails, one that is killed, and parents that are killed or interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from sru_data import DataError
from sru_data.annotation import make_annotator
from sru_data.annotation.processes import annotate_batches

PLAIN = make_annotator("none")
BATCHES = [[f"batch {number}", "It's over."] for number in range(20)]
# Reads one result, prints the ids of its worker processes, and then waits to be ended.
PARENT = """
import multiprocessing, signal, sys, time
from sru_data.annotation import make_annotator
from sru_data.annotation.processes import annotate_batches
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
if __name__ == "__main__":
    results = annotate_batches(make_annotator("none"), [["some text"]] * 9, processes=2)
    try:
        next(results)
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(60)
    finally:
        results.close()
"""


def forever() -> Iterator[list[str]]:
    while True:
        yield ["some text"]


@pytest.mark.parametrize("processes", [1, 2])
def test_the_results_are_those_of_one_annotator_in_order(processes: int) -> None:
    found = list(annotate_batches(PLAIN, BATCHES, processes=processes))
    assert found == [list(PLAIN.annotate(batch)) for batch in BATCHES]
    assert not multiprocessing.active_children()


def test_batches_are_read_as_they_are_needed() -> None:
    with closing(annotate_batches(PLAIN, forever(), processes=2)) as results:
        assert [len(next(results)) for _ in range(3)] == [1, 1, 1]
    assert not multiprocessing.active_children()


def test_a_process_that_is_killed_is_an_error() -> None:
    with closing(annotate_batches(PLAIN, forever(), processes=2)) as results:
        next(results)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        message = r"expected 2 processes to finish, got one that was killed or did not start; use fewer"
        with pytest.raises(DataError, match=message):
            for _ in results:
                pass


def test_what_a_process_raises_is_raised_here() -> None:
    class Unknown:
        description = {"features": "other"}  # noqa: RUF012

    with pytest.raises(DataError, match=r"annotation: expected the description of an annotator, got .*other"):
        list(annotate_batches(Unknown(), BATCHES, processes=2))


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_parent(tmp_path, by: signal.Signals) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        children = parent.stdout.readline().split()
        # Ctrl-C is sent to all of the processes, SIGKILL only to the parent.
        (os.killpg if by == signal.SIGINT else os.kill)(parent.pid, by)
        # The output is closed when the last process has ended.
        _, errors = parent.communicate(timeout=60)
    assert len(children) == 2
    assert errors.count("Traceback") == (by == signal.SIGINT)
