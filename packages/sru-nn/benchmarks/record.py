"""The output of every benchmark: its figures as JSON, a page for users, and its targets for developers."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch

from sru_nn import backend

TARGETS_PAGE = "developers/performance.md"  # relative to the parent of the benchmarks' folder
WORDS = {
    "gpu": "{}",
    "date": "{}",
    "commit": "commit {}",
    "processor": "{}",
    "threads": "{} threads",
    "backend": "backend `{}`",
    "torch": "torch {}",
    "python": "Python {}",
    "instruction set": "{}",
}


def machine(device: str) -> dict[str, str]:
    """Describe the machine and the software of this run."""
    if device == "cuda":
        return {"gpu": torch.cuda.get_device_name(), **machine("cpu"), "backend": backend.active("cuda")}
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    facts = {
        "date": date.today().isoformat(),
        "commit": commit,
        "processor": model[1] if model else platform.processor(),
        "threads": str(torch.get_num_threads()),
        "backend": backend.active(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if facts["backend"] == "kernels":
        from sru_kernels import cpu

        facts["instruction set"] = cpu.instruction_set()
    return facts


def described(machine: Mapping[str, str]) -> str:
    """Format the facts of `machine` on one line."""
    facts = ", ".join(WORDS[key].format(value) for key, value in machine.items())
    return facts.replace(", 1 threads,", ", 1 thread,")


def save(folder: Path, name: str, result: Mapping[str, Any], page: Iterable[str]) -> None:
    """Write `NAME.json` and `NAME.md`, and print the page.

    Args:
        folder: Created if missing.
        name: The name of both files.
        result: The figures.
        page: The lines of the page.
    """
    text = "\n".join(page) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text)
    print(text)


def save_targets(folder: Path, name: str, machine: Mapping[str, str], rows: Iterable[str]) -> None:
    """Print the targets of a benchmark, and update the developers' page.

    Args:
        folder: The folder of the benchmark's page.
        name: The section of the developers' page.
        machine: The facts of this run.
        rows: One row per target, made by `target`.
    """
    head = (f"{described(machine)}\n", "| what | target | measured | |", "| --- | --- | --- | --- |")
    lines = [*head, *rows]
    print("\n".join(lines))
    replace_section(folder.parent / TARGETS_PAGE, name, lines)


def target(what: str, goal: str, measured: str, met: bool | None) -> str:
    """Return the table row of one target; `met` is None if it was not measured."""
    return f"| {what} | {goal} | {measured} | {'' if met is None else 'met' if met else 'missed'} |"


def ratio_target(
    what: str, bound: float, numerator: float | None, denominator: float | None, *, at_least: bool
) -> str:
    """Return the table row of a target for a ratio; pass None for a part that was not measured."""
    goal = f"at {'least' if at_least else 'most'} {bound:g}x"
    if numerator is None or denominator is None:
        return target(what, goal, "not measured", None)
    ratio = numerator / denominator
    return target(what, goal, f"{ratio:.2f}x", ratio >= bound if at_least else ratio <= bound)


def replace_section(page: Path, name: str, lines: Iterable[str]) -> None:
    """Replace the text between `<!-- begin NAME -->` and `<!-- end NAME -->`, if the page has them."""
    if not page.is_file():
        return
    section = "\n".join([f"<!-- begin {name} -->", "", *lines, "", f"<!-- end {name} -->"])
    pattern = rf"<!-- begin {name} -->.*<!-- end {name} -->"
    page.write_text(re.sub(pattern, lambda _: section, page.read_text(), flags=re.DOTALL))
