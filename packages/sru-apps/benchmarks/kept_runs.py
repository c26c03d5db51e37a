"""The runs of a report: those of former days stay in it until the same run replaces them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# The benchmarks of sru-nn know how to record a run.
sys.path.append(str(Path(__file__).resolve().parents[2] / "sru-nn" / "benchmarks"))

from record import machine


def read_runs(
    description: str | None,
    name: str,
    record: Callable[[Path, Mapping[str, str], str, str], dict[str, Any]],
    key: Callable[[Mapping[str, Any]], tuple[Any, ...]],
) -> tuple[list[dict[str, Any]], Path]:
    """Read the command line, the run folders it names and the former report.

    Args:
        description: What the script says of itself.
        name: The report's, without a suffix.
        record: Reads what is worth keeping of a run folder, given the machine, the commit and a note.
        key: What two records of one run have in common.

    Returns:
        The records in the order of their keys, and the folder of the report.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--commit", required=True, help="what they were trained with")
    parser.add_argument("--note", default="", help="a sentence for the report")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    options = parser.parse_args()
    path = options.out / f"{name}.json"
    former = json.loads(path.read_text())["runs"] if path.is_file() else []
    kept = {key(run): run for run in former}
    facts = machine("cpu")
    for folder in options.runs:
        run = record(folder, facts, options.commit, options.note)
        kept[key(run)] = run
    return [kept[place] for place in sorted(kept, key=str)], options.out
