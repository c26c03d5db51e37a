"""`sru classify table`: finished runs side by side."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from sru_apps.training.errors import shows_errors
from sru_apps.training.parser import OptionParser
from sru_apps.training.run_folder import RunFolder
from sru_apps.training.summary import Summary


@shows_errors("sru classify table")
def main(args: Sequence[str]) -> int:
    """Print a Markdown table of the given runs."""
    parser = OptionParser(
        prog="sru classify table",
        description="Mean and standard deviation over runs that differ in seed or fold, as Markdown.",
    )
    parser.add_argument("runs", nargs="+", type=str, help="Run folders, such as runs/classify/sst2/*.")
    summaries = [Summary.read(RunFolder(Path(run)).summary) for run in parser.parse_args(list(args)).runs]
    print("\n".join(rows(summaries)))
    return 0


def rows(summaries: Sequence[Summary]) -> Iterator[str]:
    """Yield the lines of a table with one row for the runs of one data set, encoder and size.

    Args:
        summaries: Of finished runs, in any order.
    """
    yield "| set | encoder | parameters but word vectors | runs | test accuracy, % | validation accuracy, % |"
    yield "| --- | --- | --- | --- | --- | --- |"

    def kind(summary: Summary) -> tuple[str, str, int]:
        return summary.dataset, summary.encoder, summary.parameters_without_embedding

    for (dataset, encoder, parameters), group in groupby(sorted(summaries, key=kind), key=kind):
        runs = list(group)
        test = _spread([run.test_accuracy for run in runs])
        validation = _spread([run.validation_accuracy for run in runs])
        yield f"| {dataset} | {encoder} | {parameters:,} | {len(runs)} | {test} | {validation} |"


def _spread(accuracies: Sequence[float]) -> str:
    mean = f"{100 * statistics.mean(accuracies):.2f}"
    return mean if len(accuracies) == 1 else f"{mean} ± {100 * statistics.stdev(accuracies):.2f}"
