"""Timing several ways of doing the same thing against each other."""

from __future__ import annotations

import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a process whose memory is measured imports this file
    from torch import Tensor


@dataclass(frozen=True)
class Timing:
    """Times of one contender."""

    median: float
    """Seconds."""
    low: float
    """First quartile, seconds."""
    high: float
    """Third quartile, seconds."""
    rounds: int
    """Number of measurements."""


def race(
    contenders: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    rounds: int = 7,
    shortest: float = 2e-3,
) -> dict[str, Timing]:
    """Time contenders in turns, so that what else the machine does falls on all of them alike.

    A contender that has had five times its share of the time drops out; one whose first call takes over ten
    seconds has that one call for its measurement.

    Args:
        contenders: What to call, by name.
        seconds: Stop after about so long, but not before `rounds` rounds.
        rounds: The least number of rounds.
        shortest: Seconds that a measurement lasts at least: a fast call is repeated, its data in the caches.

    Returns:
        The times by name.
    """
    first = {name: _seconds(call) for name, call in contenders.items()}
    times = {name: [cold] if cold > 10 else [] for name, cold in first.items()}
    racing = [name for name in contenders if not times[name]]
    repeats = {name: _repeats(contenders[name], first[name], shortest) for name in racing}
    stop = time.perf_counter() + seconds
    done = 0
    while racing and (done < rounds or time.perf_counter() < stop):
        for name in racing:
            times[name].append(_seconds(contenders[name], repeats[name]))
        racing = [name for name in racing if sum(times[name]) * repeats[name] < 5 * seconds]
        done += 1
    return {name: summary(values) for name, values in times.items()}


def _repeats(call: Callable[[], object], cold: float, shortest: float) -> int:
    """Choose how many calls make a measurement, given how long the first took."""
    if cold > 10 * shortest:
        return 1
    call()  # whoever ran before has had the caches
    return math.ceil(shortest / max(_seconds(call), 1e-7))


def _seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Time a call; if repeated, without a pause and with its data in the caches."""
    if repeats > 1:
        call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def summary(values: list[float]) -> Timing:
    """Summarise measurements in seconds, at least one."""
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return Timing(median, low, high, len(values))


def compare(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> float:
    """Return the largest error, each relative to the largest number of its tensor; raise if it is large."""
    errors = [
        float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in zip(ours, theirs, strict=True)
    ]
    worst = max(errors)
    assert math.isfinite(worst), worst
    assert worst < 1e-4, worst
    return worst


def import_time(module: str) -> Timing:
    """Return how long a fresh Python takes to import a module, over seven of them."""
    program = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", program]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(7)]
    return summary([float(seconds) for seconds in runs])


def peak_memory(program: str) -> int:
    """Run a Python program by itself; return how far its resident memory rose after `baseline()`, in bytes.

    Args:
        program: It calls `baseline()` once, before what is to be measured.
    """
    prelude = f"import sys; sys.path.insert(0, {str(sys.path[0])!r})\nfrom measure import baseline, rise\n"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", prelude + program + "\nprint(rise())"],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(result.stdout.split()[-1])


_before = 0


def baseline() -> None:
    """Remember the memory in use now."""
    global _before
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew, at what is in use now
    _before = _peak()


def rise() -> int:
    """Return how far the peak has risen since `baseline`, in bytes."""
    return _peak() - _before


def _peak() -> int:
    # Not getrusage: a process inherits the peak of the one that started it.
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return 1024 * int(match[1])
