"""What all benchmarks leave behind: where and with what they ran, the figures as JSON and as a page."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch

from sru_nn import backend


def machine(device: str) -> dict[str, str]:
    """Say where and with what this run was made."""
    if device == "cuda":
        return {"gpu": torch.cuda.get_device_name(), **machine("cpu"), "backend": backend.active("cuda")}
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    return {
        "date": date.today().isoformat(),
        "commit": commit,
        "processor": model,
        "threads": str(torch.get_num_threads()),
        "backend": backend.active(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def described(machine: Mapping[str, str]) -> str:
    """Put what `machine` says into words."""
    return ", ".join(f"{key} {value}" for key, value in machine.items())


def save(folder: Path, name: str, result: Mapping[str, Any], page: Iterable[str]) -> None:
    """Write `NAME.json` and `NAME.md`, and print the page.

    Args:
        folder: Made when missing.
        name: The name of both files.
        result: The figures.
        page: The lines of the page.
    """
    text = "\n".join(page) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text)
    print(text)
