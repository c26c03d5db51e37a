"""What a benchmark leaves behind: where and with what it ran, its figures as JSON and as a page."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from sru_nn import backend


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    """The middle one."""
    low: float
    """First quartile."""
    high: float
    """Third quartile."""
    rounds: int
    """How many there were."""

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Summarise measurements, at least one."""
        low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        return cls(median, low, high, len(values))

    def per_second(self, count: float) -> Spread:
        """Turn seconds into so many things a second."""
        return Spread(count / self.median, count / self.high, count / self.low, self.rounds)

    def __str__(self) -> str:
        return f"{self.median:,.0f} [{self.low:,.0f}, {self.high:,.0f}]"


def take_turns(contenders: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, Spread]:
    """Time contenders in turns, so that what else the machine does falls on all of them alike.

    Args:
        contenders: What to call, by name; each is called once more before, untimed.
        rounds: Measurements of each.

    Returns:
        Seconds by name.
    """
    for call in contenders.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: Spread.of(values) for name, values in times.items()}


def machine() -> dict[str, str]:
    """Say where and with what this run was made."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    described = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {
        "date": date.today().isoformat(),
        "commit": described.stdout.strip(),
        "processor": names[0].split(":")[1].strip() if names else platform.processor(),
        "threads": str(torch.get_num_threads()),
        "backend": backend.active(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def save(folder: Path, name: str, result: Mapping[str, Any], page: Iterable[str]) -> None:
    """Write `NAME.json` and `NAME.md`, and print the page.

    Args:
        folder: Made when missing.
        name: The name of both files.
        result: The figures; `Spread` among them.
        page: The lines of the page.
    """
    text = "\n".join(page) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1, default=asdict) + "\n")
    (folder / f"{name}.md").write_text(text)
    print(text)
