"""What `sru TASK fit` does with what its command line has built."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]

from sru_apps.training.checkpoint_io import read_checkpoint, reading
from sru_apps.training.console import quiet_lightning
from sru_apps.training.denormals import flush_denormals
from sru_apps.training.errors import UserError
from sru_apps.training.export import check_task
from sru_apps.training.fit_cli import FitCLI
from sru_apps.training.processes import is_main_process
from sru_apps.training.run_folder import find_checkpoint


def run_fit(cli_class: type[FitCLI], args: Sequence[str]) -> int:
    """Train, or continue a run; then let the task test the best checkpoint, export it and sum up.

    Args:
        cli_class: The task's command line.
        args: What follows `sru TASK fit`.

    Returns:
        The exit status; 130 after Ctrl-C.
    """
    flush_denormals()
    quiet_lightning()
    cli = cli_class(args)
    try:
        _train(cli)
    except SystemExit:
        if not cli.checkpoints.interrupted and not cli.trainer.received_sigterm:
            raise
        if is_main_process():
            if cli.run.last.exists():
                print(f"Interrupted. Continue with: sru {cli.task} fit --resume {cli.run.path}")
            else:
                print("Interrupted before the first checkpoint.")
        return 130
    if torch.distributed.is_initialized():
        # From here on one process works alone.
        torch.distributed.destroy_process_group()
    if is_main_process():
        cli.finish()
    return 0


def _train(cli: FitCLI) -> None:
    resume_from = None
    if cli.options.resume is not None:
        resume_from = find_checkpoint(Path(cli.options.resume), last=True)
        check_same_settings(resume_from, cli)
    else:
        cli.begin()
    if is_main_process():
        print(f"{cli.opening()}; run folder {cli.run.path}", flush=True)
    try:
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=resume_from)
    except BaseException:
        # A run that never took a step would only stand in the way of the next one of its name.
        if resume_from is None and cli.trainer.global_step == 0 and is_main_process():
            shutil.rmtree(cli.run.path, ignore_errors=True)
        raise


def check_same_settings(path: Path, cli: FitCLI) -> None:
    """Refuse to continue a run as another one.

    Args:
        path: The checkpoint to continue from.
        cli: What the command line has built.

    Raises:
        UserError: When the checkpoint is of another task, or was trained with other settings.
    """
    checkpoint = read_checkpoint(path)
    check_task(checkpoint.get("task"), cli.task, path)
    cli.check_checkpoint(checkpoint)
    data = cli.datamodule.hparams
    # Files may have moved; that their content is the same is checked with the tokenizer.
    ours = {**cli.model.hparams, **{key: data[key] for key in data if key not in cli.movable}}
    with reading(path):
        theirs: dict[str, Any] = {
            **checkpoint["hyper_parameters"],
            **checkpoint["datamodule_hyper_parameters"],
        }
    trainer = cli.config_init.trainer
    with reading(cli.run.config, kind="the settings of a run"):
        former = yaml.safe_load(cli.run.config.read_text(encoding="utf-8"))["trainer"]
    for key in cli.lasting_trainer_options:
        ours[key], theirs[key] = trainer.get(key), former.get(key)
    different = list(_differences(ours, theirs))
    if different:
        raise UserError(
            f"{path} was trained with {'; '.join(different)}; continue with the run's own settings"
        )


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for key in ours:
        mine, other = ours[key], theirs.get(key)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            yield from _differences(mine, other)
        elif mine != other:
            yield f"{key}={other!r}, not {mine!r}"
