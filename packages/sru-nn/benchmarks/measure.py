"""Side-by-side timing of contenders, and peak memory."""

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

if TYPE_CHECKING:  # processes that measure memory import this file and must not load torch because of it
    from torch import Tensor


@dataclass(frozen=True)
class Timing:
    """The times of one contender."""

    median: float
    """Seconds."""
    low: float
    """First quartile, seconds."""
    high: float
    """Third quartile, seconds."""
    rounds: int
    """The number of measurements."""


def race(
    contenders: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    rounds: int = 7,
    shortest: float = 2e-3,
) -> dict[str, Timing]:
    """Time contenders in turns, so that other load on the machine affects all of them alike.

    A contender drops out when it has used five times its share of the time. If its first call takes more than
    ten seconds, that call is its only measurement.

    Args:
        contenders: The calls, by name.
        seconds: Stop after about this long, but not before `rounds` rounds.
        rounds: The minimum number of rounds.
        shortest: Minimum seconds per measurement. Faster calls are repeated, with their data in the caches.

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
    """Choose the number of calls per measurement from the duration of the first."""
    if cold > 10 * shortest:
        return 1
    call()  # warm the caches, which hold the previous contender's data
    return math.ceil(shortest / max(_seconds(call), 1e-7))


def _seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Time a call; repeated calls run back to back, with their data in the caches."""
    if repeats > 1:
        call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def summary(values: list[float]) -> Timing:
    """Summarise one or more measurements in seconds."""
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return Timing(median, low, high, len(values))


def compare(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> float:
    """Return the largest error, relative to the magnitude of its tensor; raise if it is too large."""
    errors = [
        float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in zip(ours, theirs, strict=True)
    ]
    worst = max(errors)
    assert math.isfinite(worst), worst
    assert worst < 1e-4, worst
    return worst


def import_time(module: str) -> Timing:
    """Return the time to import a module in a new Python process, over seven runs."""
    program = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", program]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(7)]
    return summary([float(seconds) for seconds in runs])


def peak_memory(program: str) -> int:
    """Run a Python program in its own process; return the rise of its peak resident memory, in bytes.

    Args:
        program: The source code. It calls `baseline()` once, before the part to be measured.
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
    """Record the memory in use now."""
    global _before
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak to the memory in use now
    _before = _peak()


def rise() -> int:
    """Return the rise of the peak since `baseline`, in bytes."""
    return _peak() - _before


def _peak() -> int:
    # Not getrusage: a process inherits the peak of its parent.
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return 1024 * int(match[1])
