"""The program that both sides of `against.py` run, in turns.

Requests are lines on standard input: `cases`, `begin CASE`, `turn`. The programs use only names that exist in
every commit.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Protocol

TURN = 0.15
"""The minimum duration of a turn in seconds."""


class Case(Protocol):
    """A case to be timed."""

    def begin(self) -> list[float]:
        """Prepare, and return numbers that every commit must reproduce."""

    def turn(self) -> float:
        """Run one turn and return the seconds per unit of work."""


class Calls:
    """A case that calls a function repeatedly."""

    def __init__(self, make: Callable[[], tuple[Callable[[], object], list[float]]]) -> None:
        self._make = make

    def begin(self) -> list[float]:
        """Make the function and determine the number of calls per turn."""
        self._call, check = self._make()
        self._call()
        start = time.perf_counter()
        self._call()
        self._repeats = math.ceil(TURN / (time.perf_counter() - start))
        return check

    def turn(self) -> float:
        """Call the function; the first call is not timed, because the caches hold the other side's data."""
        self._call()
        start = time.perf_counter()
        for _ in range(self._repeats):
            self._call()
        return (time.perf_counter() - start) / self._repeats


def answer(value: object) -> None:
    """Send a line to `against.py`."""
    sys.__stdout__.write(json.dumps(value) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


def serve(cases: Mapping[str, Case]) -> None:
    """Answer requests until standard input ends."""
    chosen: Case | None = None
    for line in sys.stdin:
        request, _, name = line.strip().partition(" ")
        if request == "cases":
            answer(list(cases))
        elif request == "begin":
            chosen = cases[name]
            answer({"check": chosen.begin()})
        elif chosen is not None:
            answer({"seconds": chosen.turn()})
