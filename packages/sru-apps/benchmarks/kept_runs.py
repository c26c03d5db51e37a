"""The runs of a report: earlier records stay until a run with the same key replaces them."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

# The benchmarks of sru-nn contain the helpers that record runs.
sys.path.append(str(Path(__file__).resolve().parents[2] / "sru-nn" / "benchmarks"))

from record import machine


def read_runs(
    description: str | None,
    name: str,
    record: Callable[[Path], dict[str, Any]],
    key: Callable[[Mapping[str, Any]], tuple[Any, ...]],
) -> tuple[list[dict[str, Any]], Path]:
    """Parse the command line, and read the run folders it names and the previous report.

    Args:
        description: The description for `--help`.
        name: The file name of the report, without suffix.
        record: Reads the record of a run folder; the machine, the commit and the note are added.
        key: Returns the key of a record; records with equal keys replace each other.

    Returns:
        The records, sorted by key, and the folder of the report.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--commit", required=True, help="the commit that the runs were trained with")
    parser.add_argument("--note", default="", help="a sentence for the report")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    options = parser.parse_args()
    path = options.out / f"{name}.json"
    former = json.loads(path.read_text())["runs"] if path.is_file() else []
    kept = {key(run): run for run in former}
    trained = {"machine": {**machine("cpu"), "commit": options.commit}, "note": options.note}
    for folder in options.runs:
        run = {**trained, **record(folder)}
        kept[key(run)] = run
    return [kept[place] for place in sorted(kept, key=str)], options.out


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, str]]]:
    """Read the summary, the settings and the metrics of a run."""
    summary = json.loads((folder / "summary.json").read_text())
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    with (folder / "metrics.csv").open(newline="") as file:
        return summary, settings, list(csv.DictReader(file))


def curve(metrics: list[dict[str, str]], **columns: str) -> list[dict[str, float]]:
    """Return the epochs of a run with some columns of its metrics, by their names in the report."""
    columns = {"epoch": "epoch", **columns}
    return [{name: float(row[column]) for name, column in columns.items()} for row in metrics]
