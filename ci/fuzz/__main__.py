"""`nox -s fuzz`: random files, calls and kills that must never crash or hang a command.

A target is a public function in `packages/*/fuzz/GROUP.py` that takes a `Case`. Each call ends in one of
three ways: it returns (accepted: its assertions hold), it raises a one-sentence error that the module's
`refuses` recognises (refused), or it fails. Crashes, hangs and exceeded memory or time limits are failures.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

GROUPS = ("readers", "tables", "speech", "calls", "files", "pairs", "commands", "kill")
ROOT = Path(__file__).resolve().parents[2]
SHARES = {"files": 2.0, "pairs": 2.0, "commands": 3.0, "kill": 5.0}
"""Groups with slow cases, whose targets get this many times the time of others."""


@dataclass
class Target:
    """A function to call, and the outcomes of its calls."""

    path: Path
    name: str
    work: Path
    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By kind of failure: the number of failures, and the first message."""

    @property
    def title(self) -> str:
        """The package, group and name."""
        return f"{self.path.parent.parent.name} {self.path.stem} {self.name}"

    @property
    def share(self) -> float:
        """The target's share of the time, relative to other targets."""
        return SHARES.get(self.path.stem, 1.0)

    def run(self, seed: int, seconds: float) -> None:
        """Run cases in a separate process, restarted after each crash."""
        self.work.mkdir(parents=True)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 1:
            arguments = (self.path, self.name, self.work, seed, left)
            command = [sys.executable, ROOT / "ci/fuzz/worker.py", *map(str, arguments)]
            crash = self.work / "crash.txt"
            with crash.open("w") as errors, (self.work / "out.txt").open("w") as out:
                streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": errors}
                done = subprocess.run(command, **streams, check=False)
            if done.returncode == 0:
                break
            self._crashed(done.returncode, crash)
            seed += 1
        results = self.work / "results.jsonl"
        for line in results.read_text().splitlines() if results.exists() else []:
            self._count(**json.loads(line))

    def _crashed(self, status: int, crash: Path) -> None:
        text = crash.read_text(errors="replace")
        ours = [line.strip() for line in text.splitlines() if "File " in line and "/ci/fuzz/" not in line]
        hint = ours[0] if ours else (text.strip().splitlines() or ["no message"])[-1]
        kept = self.work / "failed" / f"crash-{status}-{len(self.kinds)}"
        if (self.work / "case").exists():
            shutil.copytree(self.work / "case", kept, symlinks=True)
            for file in (self.work / "case.txt", crash):
                shutil.copy(file, kept)
        self._count("failed", f"exit status {status} at {hint}", text[:200])

    def _count(self, outcome: str, kind: str, message: str) -> None:
        self.outcomes[outcome] += 1
        if outcome == "failed":
            number, first = self.kinds.get(kind, (0, message))
            self.kinds[kind] = number + 1, first


def targets(only: list[str], work: Path) -> list[Target]:
    """Find the targets, limited to the groups or names in `only` if it is not empty."""
    found = []
    for path in (path for group in GROUPS for path in sorted(ROOT.glob(f"packages/*/fuzz/{group}.py"))):
        functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        for name in (function.name for function in functions if _takes_a_case(function)):
            if not only or {path.stem, name} & {*only}:
                package = path.parent.parent.name
                found.append(Target(path, name, work / f"{package}-{path.stem}-{name}"))
    return found


def _takes_a_case(function: ast.FunctionDef) -> bool:
    return not function.name.startswith("_") and [arg.arg for arg in function.args.args] == ["case"]


def main() -> int:
    """Run all targets for the given time, print the outcomes, and return 1 after a failure."""
    parser = argparse.ArgumentParser(prog="nox -s fuzz --")
    parser.add_argument("--minutes", type=float, default=10, help="total time; default: 10")
    parser.add_argument("--seed", type=int, default=0, help="random seed; default: 0")
    only = f"names of targets, or of groups: {', '.join(GROUPS)}"
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help=only)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="sru-fuzz-"))
    chosen = targets(options.only, work)
    if not chosen:
        parser.error(f"there is no target {' or '.join(options.only)}")
    os.environ |= {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(work / "hypothesis")
    workers = min(os.cpu_count() or 1, 4)
    second = 60 * options.minutes * workers / sum(target.share for target in chosen)
    with ThreadPoolExecutor(workers) as pool:
        # Longest first, so that all finish at about the same time.
        for target in sorted(chosen, key=lambda target: -target.share):
            pool.submit(target.run, options.seed, second * target.share)
    return report(chosen, options.seed, work)


def report(chosen: list[Target], seed: int, work: Path) -> int:
    """Print the table and the failures."""
    print(f"\n{'target':<44}{'cases':>9}{'accepted':>10}{'refused':>9}{'failed':>8}")
    for target in chosen:
        numbers = [target.outcomes[name] for name in ("accepted", "refused", "failed")]
        print(f"{target.title:<44}{sum(numbers):>9,}{numbers[0]:>10,}{numbers[1]:>9,}{numbers[2]:>7,}")
    failing = [target for target in chosen if target.kinds]
    untried = [target for target in chosen if not target.outcomes]
    for target in failing:
        print(f"\n{target.title} failed; the smallest case of each kind is in {target.work / 'failed'}")
        for kind, (number, message) in sorted(target.kinds.items(), key=lambda item: -item[1][0]):
            print(f"  {number:>5} x {kind}\n          {' '.join(message.split())[:300]}")
    for target in untried:
        print(f"\n{target.title} was not tried: {target.work / 'crash.txt'}")
    if failing or untried:
        print(f"\nRepeat with --seed {seed} --only NAME.")
        return 1
    shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
