"""A series of runs: those of `fit --seeds`, or the folds of a cross-validation.

They are trained one after another in this process, each as by a single `fit`. Training seeds all randomness
itself, so a run equals that of `fit --seed` bit for bit. A series can be stopped anywhere and started again:
finished runs are skipped, and interrupted ones are continued.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped,unused-ignore]
from jsonargparse import Namespace

from sru_apps.task import Task, load
from sru_apps.train.continuing import differences
from sru_apps.train.errors import UserError, reading
from sru_apps.train.job import Fit
from sru_apps.train.options import OptionParser, fit_parser, peek, recipe_path, with_settings
from sru_apps.train.run_folder import RunFolder
from sru_apps.train.settings import deciding_settings
from sru_apps.train.strict_json import write_json
from sru_apps.train.table import in_words
from sru_apps.train.yaml_files import read_settings


class Series(NamedTuple):
    """Runs that differ in the value of one option.

    Attributes:
        task: The task.
        args: The command line, without the options that name the series.
        options: The parsed options.
        option: The option that differs, such as `--data.fold`.
        runs: The run folder for each of its values.
        record: The file of the summary.
        kind: The name for the runs, such as `folds`.
        remedy: The command that continues the series.
    """

    task: Task
    args: Sequence[str]
    options: Namespace
    option: str
    runs: Mapping[int, Path]
    record: Path
    kind: str
    remedy: str


def parse(task: Task, args: Sequence[str], command: str, settings: Path | None = None) -> Namespace:
    """Parse the command line of a series, which has the options of `fit`.

    Args:
        task: The task.
        args: The command line.
        command: The command as the user typed it, such as `fit`.
        settings: A file of options to read first instead of `--recipe`.
    """
    recipe = peek(args, "--recipe")
    if settings is None and recipe is not None:
        settings = recipe_path(task, recipe)
    return _parser(task, command).parse_args(with_settings(args, settings))


def _parser(task: Task, command: str) -> OptionParser:
    return fit_parser(task, load(task.data), load(task.module).config_class, command=command)


def without(args: Sequence[str], *options: str) -> list[str]:
    """Remove options and their values from a command line."""
    kept: list[str] = []
    rest = iter(args)
    for arg in rest:
        name, equals, _ = arg.partition("=")
        if name not in options:
            kept.append(arg)
        elif not equals:
            next(rest, None)
    return kept


def train_series(series: Series, train: Callable[..., int]) -> int:
    """Train the unfinished runs, then print and write means and standard deviations.

    Args:
        series: The series.
        train: Trains a `Fit` that has been set up, and returns its exit status.

    Returns:
        The exit status; 130 after Ctrl-C.

    Raises:
        UserError: Existing runs have other settings, `--find-lr` is given, or a training fails.
    """
    if series.options.find_lr:
        raise UserError(
            f"--find-lr is for one run, got {len(series.runs)} {series.kind}; find the learning rate first, "
            f"with: sru {series.task.name} fit --find-lr"
        )
    _check_same_settings(series)
    for value, path in series.runs.items():
        try:
            status = _train_one(series, value, path, train)
            told = RunFolder(path).last.is_file()
        except KeyboardInterrupt:
            print("Interrupted.")
            status, told = 130, False
        except UserError as error:
            raise UserError(f"{path.name}: {error}", status=error.status) from error
        if status:
            if not told and any(RunFolder(other).config.is_file() for other in series.runs.values()):
                print(f"Continue with: {series.remedy}")
            return status
    _summarise(series)
    return 0


def _train_one(series: Series, value: int, path: Path, train: Callable[..., int]) -> int:
    run = RunFolder(path)
    if run.summary.is_file():
        print(f"{path} is finished")
        return 0
    args = [*series.args, f"{series.option}={value}", f"--name={path.name}"]
    if run.config.is_file():
        job = Fit(series.task, ["--resume", str(path), *without(args, "--recipe", "--init-from")])
    else:
        job = Fit(series.task, args, group=path.parent)
    if job.trainer.world_size > 1:
        raise UserError(
            f"the runs of a series are trained in one process, got {job.trainer.world_size}; give "
            f"--trainer.devices 1, or train each with `sru {series.task.name} fit {series.option} N`"
        )
    # A table per run would hide the lines that distinguish the runs.
    return train(job, remedy=series.remedy, brief=True)


def _check_same_settings(series: Series) -> None:
    """Refuse a series whose existing runs have other settings."""
    group, _, key = series.option.removeprefix("--").rpartition(".")
    for value, path in series.runs.items():
        run = RunFolder(path)
        if not run.config.is_file():
            continue
        with reading(run.config, kind="the settings of a run"):
            text = yaml.safe_dump(read_settings(run.config))
            found = _parser(series.task, "fit").parse_args(["--config", text]).as_dict()
        wanted = series.options.as_dict()
        (wanted[group] if group else wanted)[key] = value
        ours, theirs = (deciding_settings(series.task, part, moved=True) for part in (wanted, found))
        if different := list(differences(ours, theirs)):
            raise UserError(
                f"{path} was trained with {'; '.join(different)}; give the same options, or another --name"
            )


def _summarise(series: Series) -> None:
    key = series.option.rpartition(".")[2].removeprefix("--")
    rows = []
    for value, path in series.runs.items():
        entries = RunFolder(path).read_summary("dataset", "encoder", "test", "validation", "best_epoch")
        dataset, encoder, test, validation, epoch = entries
        figures = {"test": test, "validation": validation}
        rows.append({"run": path.name, key: value, "best_epoch": epoch, **figures})
    parts = [part for part in ("test", "validation") if all(row[part] for row in rows)]
    with reading(series.record.parent, kind="a folder of finished runs"):
        found = {
            part: {
                name: [_number(row[part].get(name)) for row in rows]
                for name in sorted(rows[0][part], key="loss".__eq__)  # The loss comes last.
            }
            for part in parts
        }
    mean, deviation = (
        {part: {name: of(values) for name, values in found[part].items()} for part in parts}
        for of in (statistics.mean, _deviation)
    )
    summary = {"dataset": dataset, "encoder": encoder, "runs": rows, "mean": mean}
    write_json(series.record, {**summary, "standard_deviation": deviation})
    words = "; ".join(
        f"{part} {', '.join(in_words(name, values) for name, values in found[part].items())}"
        for part in parts
    )
    print(f"{dataset} {encoder}, {len(rows)} {series.kind}: {words}; {series.record}")


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan
