"""Compare this tree with another commit: `nox -s bench -- NAME --against COMMIT`.

Each side has its own environment and process. Both run the same program, `turns_NAME.py`, and take turns of a
fraction of a second, so that other load on the machine slows both alike. The placement of a process in memory
changes its times by several percent, so several pairs of processes run, one pair after the other. Each case
is checked first: both sides must compute the same numbers. Exits with 1 if the upper end of the 95 %
confidence interval of a ratio is not below the limit.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from record import described, machine

RESAMPLES = 2000


class Side:
    """One side: a process that waits for its turns."""

    def __init__(self, python: str, program: Path, arguments: list[str], log: Path) -> None:
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [python, "-W", "ignore", str(program), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(self, request: str) -> dict[str, float | list[float]] | list[str]:
        """Send a request and return the answer."""
        to, answers = self._pipes()
        to.write(request + "\n")
        to.flush()
        for line in answers:
            if line.startswith("{") or line.startswith("["):
                return json.loads(line)  # type: ignore[no-any-return]
        raise SystemExit(f"the process ended during the request {request!r}; see {self._log}")

    def end(self) -> None:
        """Close the pipe and end the process."""
        self._pipes()[0].close()
        self._process.kill()
        self._process.wait()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


@dataclass(frozen=True)
class Ratio:
    """The time of this tree divided by the time of the other commit."""

    case: str
    ours: float
    """Median seconds of a turn."""
    theirs: float
    """The same for the other commit."""
    ratio: float
    """Median over the pairs of turns."""
    low: float
    """Lower end of the 95 % confidence interval, by bootstrap over processes and turns."""
    high: float
    """Upper end of the interval."""
    pairs: list[int]
    """Number of pairs of turns for each pair of processes."""


def main() -> None:
    """Run every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="name of the benchmark")
    parser.add_argument("--program", type=Path, required=True, help="its program, turns_NAME.py")
    parser.add_argument("--against", required=True, metavar="COMMIT", help="the other commit")
    parser.add_argument("--python", required=True, help="the interpreter in the other commit's environment")
    parser.add_argument("--seconds", type=float, default=60.0, help="time per case")
    parser.add_argument("--processes", type=int, default=4, help="number of pairs of processes")
    parser.add_argument("--limit", type=float, default=1.03, help="limit on the upper end of the interval")
    parser.add_argument("--cases", nargs="+", help="only cases whose names contain one of these words")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the record")
    options, rest = parser.parse_known_args()
    logs = Path("build/against")
    for folder in (logs, options.out):  # fail early, before timing
        folder.mkdir(parents=True, exist_ok=True)
    turns: dict[str, list[list[tuple[float, float]]]] = {}
    for _ in range(options.processes):
        sides = [
            Side(python, options.program, rest, logs / f"{options.name}-{which}.log")
            for which, python in (("ours", sys.executable), ("theirs", options.python))
        ]
        cases, others = (list(side.ask("cases")) for side in sides)
        if cases != others:
            raise SystemExit(f"the two sides have different cases: {cases} and {others}")
        for case in cases:
            if not options.cases or any(word in case for word in options.cases):
                found = compare(case, *sides, seconds=options.seconds / options.processes)
                turns.setdefault(case, []).append(found)
        for side in sides:
            side.end()
    rows = [ratio(case, found) for case, found in turns.items()]
    print(f"{'case':44} {'ours, ms':>10} {'theirs':>10} {'ratio':>7}  95 % interval")
    for row in rows:
        times = f"{1e3 * row.ours:10.3f} {1e3 * row.theirs:10.3f}"
        print(f"{row.case:44} {times} {row.ratio:7.3f}  {row.low:.3f} to {row.high:.3f}")
    facts = machine("cpu")
    record = {
        "machine": facts,
        "against": options.against,
        "limit": options.limit,
        "rows": list(map(asdict, rows)),
    }
    (options.out / f"against-{options.name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(described(facts))
    slower = [row.case for row in rows if not row.high < options.limit]
    if slower:
        raise SystemExit(
            f"not shown to be below {options.limit:g} times the time of {options.against}: "
            f"{', '.join(slower)}"
        )


def compare(case: str, ours: Side, theirs: Side, *, seconds: float) -> list[tuple[float, float]]:
    """Check a case; return the seconds of both sides for each pair of turns."""
    checks = [numbers(side.ask(f"begin {case}"), "check") for side in (ours, theirs)]
    for mine, other in zip(*checks, strict=True):
        if not math.isclose(mine, other, rel_tol=1e-4, abs_tol=1e-6):
            raise SystemExit(f"{case}: the two sides compute different numbers, {mine} and {other}")
    pairs: list[tuple[float, float]] = []
    stop = time.perf_counter() + seconds
    while len(pairs) < 10 or time.perf_counter() < stop:
        turn = [ours, theirs] if len(pairs) % 2 else [theirs, ours]
        times = {side: numbers(side.ask("turn"), "seconds")[0] for side in turn}
        pairs.append((times[ours], times[theirs]))
    return pairs


def ratio(case: str, turns: list[list[tuple[float, float]]]) -> Ratio:
    """Summarise the turns of all processes."""
    ratios = [[mine / other for mine, other in pairs] for pairs in turns]
    chosen = random.Random(0)

    def resampled() -> float:
        processes = chosen.choices(ratios, k=len(ratios))
        return statistics.median(value for some in processes for value in chosen.choices(some, k=len(some)))

    medians = sorted(resampled() for _ in range(RESAMPLES))
    low, high = medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES)]
    pairs = [pair for some in turns for pair in some]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    middle = statistics.median(mine / other for mine, other in pairs)
    return Ratio(case, ours, theirs, middle, low, high, [len(some) for some in turns])


def numbers(answer: object, key: str) -> list[float]:
    """Return the value of a key in an answer, as a list."""
    assert isinstance(answer, dict), answer
    value = answer[key]
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    main()
