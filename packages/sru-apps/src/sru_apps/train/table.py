"""`sru TASK table`: means and standard deviations of finished runs."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sru_apps.task import Task
from sru_apps.train.errors import UserError, reading
from sru_apps.train.layout import Option, command_page
from sru_apps.train.options import parse_options
from sru_apps.train.run_folder import RunFolder
from sru_apps.train.settings import deciding_settings
from sru_apps.train.strict_json import dump_json
from sru_apps.train.yaml_files import read_settings

_SHARES = frozenset({"accuracy", "exact_match", "macro_f1", "micro_f1"})
"""Figures that are shown in percent."""


_DESCRIPTION = (
    "Print the mean and standard deviation over runs that differ in seed or fold, as Markdown. Unfinished "
    "runs are skipped, and no run is counted twice."
)


def _options(task: Task) -> list[Option]:
    return [("runs", list, ..., f"Run folders, or folders of folds, such as runs/{task.name}/RECIPE/*.")]


def page(prog: str, task: Task, every: bool) -> str:
    """Describe `sru TASK table`.

    Args:
        prog: The command as the user types it.
        task: The task.
        every: Not used, because there are few options.
    """
    return command_page(prog, _DESCRIPTION, _options(task))


class Row(NamedTuple):
    """The settings that the runs of a row share."""

    figure: str
    """The figure of merit."""
    dataset: str
    encoder: str
    """Includes the model that training started from, if any."""
    parameters: int


class Figures(NamedTuple):
    """The figures of a run in the table; None if not measured."""

    test: float | None
    validation: float | None
    macro_f1: float | None


def table(task: Task, args: Sequence[str]) -> int:
    """Print a Markdown table of the given runs, with one row per data set, encoder, start and size."""
    options = parse_options(f"sru {task.name} table", _DESCRIPTION, _options(task), args)
    rows: dict[Row, list[Figures]] = {}
    without_vectors = False
    for run in _finished(task, [Path(name) for name in options.runs]):
        summary = run.load_summary()
        with reading(run.summary, kind=f"a summary of `sru {task.name} fit`"):
            row, figures = _read(task, summary, run)
            without_vectors |= "parameters_without_embedding" in summary
        rows.setdefault(row, []).append(figures)
    parameters = "parameters without word vectors" if without_vectors else "parameters"
    names = sorted({row.figure for row in rows}, key=list(task.figures).index)
    print("\n\n".join("\n".join(_lines(name, rows, parameters)) for name in names))
    return 0


def _finished(task: Task, paths: Sequence[Path]) -> Iterator[RunFolder]:
    """Yield each finished run once, and report what is left out."""
    places: set[Path] = set()
    known: dict[str, Path] = {}
    unfinished: list[RunFolder] = []
    for path in _expanded(paths):
        run = RunFolder(path)
        if path.resolve() in places:
            _note(task, path, "it is given twice")
            continue
        places.add(path.resolve())
        if not run.summary.is_file():
            unfinished.append(run)
            _note(task, path, "its training has not finished" if run.config.is_file() else "it holds no run")
            continue
        if run.config.is_file():
            settings = dump_json(deciding_settings(task, read_settings(run.config)))
            if settings in known:
                _note(task, path, f"it duplicates {known[settings]}, with the same settings and seed")
                continue
            known[settings] = path
        yield run
    if len(unfinished) == len(places):
        raise UserError(
            f"no summary at {unfinished[0].summary}; give run folders whose training has finished"
        )


def _expanded(paths: Iterable[Path]) -> Iterator[Path]:
    """Replace each folder of runs, such as that of a cross-validation, with the runs in it."""
    for path in paths:
        if not path.exists():
            raise UserError(f"no run at {path}")
        run = RunFolder(path)
        inner = () if run.config.is_file() or run.summary.is_file() else path.glob("*/config.yaml")
        if runs := sorted(config.parent for config in inner):
            yield from runs
        elif path.suffix != ".json":  # The summary of a series is in the folder of its runs.
            yield path


def _note(task: Task, path: Path, reason: str) -> None:
    print(f"sru {task.name} table: {path} is left out: {reason}", file=sys.stderr)


def _read(task: Task, summary: dict[str, Any], run: RunFolder) -> tuple[Row, Figures]:
    """Read what the table shows from the summary and the settings of a run."""

    def find(part: str, figure: str) -> float | None:
        name = f"{part}_{figure}"
        if name in summary:
            return float(summary[name])
        value = (summary.get(part) or {}).get(figure)
        return None if value is None else float(value)

    figure = next((name for name in task.figures if find("validation", name) is not None), None)
    if figure is None:
        raise KeyError(f"validation {task.figures[0]}")
    parameters = summary.get("parameters_without_embedding", summary.get("parameters"))
    start = read_settings(run.config).get("init_from") if run.config.is_file() else None
    encoder = f"{summary['encoder']}{'' if start is None else f' from {start}'}"
    row = Row(figure, str(summary["dataset"]), encoder, int(parameters))  # type: ignore[arg-type]
    return row, Figures(find("test", figure), find("validation", figure), find("test", "macro_f1"))


def _lines(figure: str, rows: dict[Row, list[Figures]], parameters: str) -> Iterator[str]:
    """Format the rows of one figure of merit."""
    rows = {row: runs for row, runs in sorted(rows.items()) if row.figure == figure}
    with_f1 = any(run.macro_f1 is not None for runs in rows.values() for run in runs)
    columns = [("test", figure), ("validation", figure), *([("test", "macro_f1")] if with_f1 else [])]
    heads = [f"{part} {title(name)}{', %' if name in _SHARES else ''}" for part, name in columns]
    yield f"| set | encoder | {parameters} | runs | {' | '.join(heads)} |"
    yield f"| --- | --- | --- | --- |{' --- |' * len(columns)}"
    for row, runs in rows.items():
        cells = [
            _cell(name, values) for (_, name), values in zip(columns, zip(*runs, strict=True), strict=False)
        ]
        facts = f"{row.dataset} | {row.encoder} | {row.parameters:,} | {len(runs)}"
        yield f"| {facts} | {' | '.join(cells)} |"


def _cell(figure: str, values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "–"
    if figure in _SHARES:
        return spread([100 * value for value in known])
    return spread(known, 3 if figure.startswith("bits_") else 2)


def title(figure: str) -> str:
    """Return the name of a figure for display: `macro F1`, `BLEU`."""
    return figure.replace("_", " ").replace("f1", "F1").replace("bleu", "BLEU").replace("chrf", "chrF")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Format a mean, and the standard deviation of a sample where there are several values."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def in_words(figure: str, values: Sequence[float]) -> str:
    """Format the values of a figure: `accuracy 82.51 ± 0.31 %`."""
    if figure in _SHARES:
        return f"{title(figure)} {spread([100 * value for value in values])} %"
    return f"{title(figure)} {spread(values, 4)}"
