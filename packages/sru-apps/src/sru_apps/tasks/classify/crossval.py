"""`sru classify crossval`: train and test on every fold of a cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sru_apps.task import Task, load
from sru_apps.train.errors import UserError, building
from sru_apps.train.fit import begin, train
from sru_apps.train.job import group_folder
from sru_apps.train.options import peek
from sru_apps.train.run_folder import RunFolder, folder_name
from sru_apps.train.series import Series, parse, train_series, without


def crossval(task: Task, args: Sequence[str]) -> int:
    """Train a run for each fold, continuing interrupted ones, and print mean and standard deviation.

    Args:
        task: The task.
        args: The command line after `sru classify crossval`: the options of `fit`; `--resume` names the
            folder of the folds.

    Returns:
        The exit status; 130 after Ctrl-C.

    Raises:
        UserError: The data set has its own test set, or existing folds were trained with other settings.
    """
    begin()
    own, resume = without(args, "--resume", "--name"), peek(args, "--resume")
    if any(peek(args, name) is not None for name in ("--data.fold", "--fold")):
        raise UserError("cross-validation trains on every fold; leave --data.fold out")
    if resume is not None:
        own = args = [f"--config={_settings_of(Path(resume))}", *own]
    options = parse(task, args, "crossval")
    if options.seeds > 1:
        raise UserError("cross-validation trains with one seed at a time; leave --seeds out")
    with building():
        data = load(task.data)(**options.data.as_dict(), seed=options.seed)
    if not data.folds:
        raise UserError(
            f"{data.dataset} has a test set of its own and no folds; train on it with: sru {task.name} fit"
        )
    new = group_folder(task, options, data) / folder_name(options.name)
    group = new if resume is None else Path(resume)
    series = Series(
        task,
        own,
        options,
        option="--data.fold",
        runs={fold: group / f"fold-{fold}" for fold in range(data.folds)},
        record=group / "crossval.json",
        kind="folds",
        remedy=f"sru {task.name} crossval --resume {group}",
    )
    return train_series(series, train)


def _settings_of(group: Path) -> Path:
    """Find the settings of the folds to continue."""
    for path in sorted(group.glob("fold-*")):
        if (config := RunFolder(path).config).is_file():
            return config
    raise UserError(f"no cross-validation at {group}; give the folder with fold-0 and so on")
