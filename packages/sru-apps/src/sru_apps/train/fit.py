"""`sru TASK fit`: one trainer for all tasks."""

from __future__ import annotations

import math
import shlex
import statistics
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_only

from sru_apps.task import Task, load
from sru_apps.train.checkpoints import AtomicCheckpointIO
from sru_apps.train.console import flush_denormals, outlive_terminal, quiet_lightning
from sru_apps.train.errors import UserError, building
from sru_apps.train.evaluate import STAGES, device_of, load_module, measure
from sru_apps.train.finder import find_learning_rate
from sru_apps.train.job import IN_USE, Fit, group_folder
from sru_apps.train.module import count_parameters
from sru_apps.train.options import peek
from sru_apps.train.report import report
from sru_apps.train.run_folder import folder_name
from sru_apps.train.series import Series, parse, train_series, without


def begin() -> None:
    """Set up this process for training."""
    flush_denormals()
    outlive_terminal()
    quiet_lightning()


_LONGER = {
    "max_epochs": "give more --trainer.max_epochs",
    "max_steps": "give more --trainer.max_steps",
    "max_time": "give more --trainer.max_time",
    "patience": "it stopped early; increase --patience, or set it to 0,",
}
"""How a finished run can be continued, by the option that ended it."""


def fit(task: Task, args: Sequence[str]) -> int:
    """Train, or continue a run; then test the best checkpoint, export it, and print the summary.

    With `--seeds`, do so for each seed.

    Args:
        task: The task.
        args: The command line after `sru TASK fit`.

    Returns:
        The exit status; 130 after Ctrl-C.
    """
    begin()
    if peek(args, "--seeds") not in (None, "1"):
        return train_series(_seeds(task, args), train)
    job = Fit(task, args)
    if job.finished:
        print(f"{job.run.path} is finished; {_LONGER[job.finished]} to train it for longer")
        return 0
    if job.options.seeds > 1:
        raise UserError("--seeds may not be set in a config file; give it on the command line")
    if job.options.find_lr:
        find_learning_rate(job)
        return 0
    return train(job, remedy=f"sru {task.name} fit --resume {job.run.path}")


def _seeds(task: Task, args: Sequence[str]) -> Series:
    """Set up the runs of `--seeds`."""
    if peek(args, "--resume") is not None:
        raise UserError("--resume continues one run; to continue those of --seeds, give their --name again")
    options = parse(task, args, "fit")
    with building():
        data = load(task.data)(**options.data.as_dict(), seed=options.seed)
    group, name = group_folder(task, options, data), folder_name(options.name)
    own = without(args, "--seeds", "--seed", "--name")
    command = shlex.join([*own, f"--seed={options.seed}", f"--seeds={options.seeds}", f"--name={name}"])
    seeds = range(options.seed, options.seed + options.seeds)
    return Series(
        task,
        own,
        options,
        option="--seed",
        runs={seed: group / f"{name}-seed-{seed}" for seed in seeds},
        record=group / f"{name}-seeds.json",
        kind="seeds",
        remedy=f"sru {task.name} fit {command}",
    )


def train(job: Fit, *, remedy: str, brief: bool = False) -> int:
    """Train a job that has been set up, and finish it.

    Args:
        job: The job.
        remedy: The command that continues it after an interruption.
        brief: Print the summary without the report.

    Returns:
        The exit status; 130 after Ctrl-C.
    """
    with job.run.lock():
        if job.options.resume is None:
            job.run.check_new(IN_USE)
        return _run(job, remedy, brief)


def _run(job: Fit, remedy: str, brief: bool) -> int:
    try:
        job.train()
    except SystemExit:
        if not job.checkpoints.interrupted and not job.trainer.received_sigterm:
            raise
        if job.trainer.is_global_zero:
            saved = job.run.last.exists()
            print(f"Interrupted{f'. Continue with: {remedy}' if saved else ' before the first checkpoint.'}")
        return 130
    if torch.distributed.is_initialized():
        # Only one process continues from here.
        torch.distributed.destroy_process_group()
    finish(job, brief=brief)
    return 0


@rank_zero_only
def finish(job: Fit, *, brief: bool = False) -> None:
    """Test the best checkpoint, export it, and print the summary.

    Args:
        job: The job, trained.
        brief: Print the summary without the report.

    Raises:
        UserError: The figures of the last epoch are not finite, and divergence is not allowed.
    """
    run, data, rows = job.run, job.data, job.history.rows
    best = job.checkpoints.best_score
    if best is None or not math.isfinite(rows[-1]["train_loss"] + rows[-1]["validation_loss"]):
        kept = "no epoch had" if best is None else f"{run.best} is of the last epoch that had"
        message = f"the training has diverged: {kept} finite figures"
        if not job.options.allow_divergence:
            raise UserError(
                f"{message}. Nothing is tested or exported. Try a lower --optimizer.lr or "
                "--trainer.gradient_clip_val 1; with --allow-divergence, the best epoch is exported"
            )
        warnings.warn(message, stacklevel=2)
        if best is None:
            return
    module, checkpoint = load_module(job.task, run.best)
    figures = {
        name: measure(module, data, stage, accelerator=job.options.trainer.accelerator)
        for stage, name in reversed(STAGES.items())
        if stage in job.task.generic and (stage == "validate" or data.has_test)
    }
    text = _report(job, module, checkpoint, figures)
    module.export(run.model, data.tokenizer, task=job.task.name)
    summary = {
        "dataset": data.dataset,
        "encoder": module.config.encoder,
        "seed": job.options.seed,
        "test": figures.get("test"),
        "validation": figures["validation"],
        "best_epoch": job.checkpoints.best_epoch + 1,
        "best_step": checkpoint["global_step"],
        "epochs": math.ceil(rows[-1]["epoch"]),
        "steps": int(rows[-1]["step"]),
        "ended_by": job.ended_by(rows),
        "seconds": round(job.history.seconds, 2),
        "parameters": count_parameters(module),
        "run": str(run.path),
        **({"init_from": job.options.init_from} if job.options.init_from is not None else {}),
        **module.summary(figures),
    }
    speed = ""
    if data.unit:
        tokens_per_second = statistics.median(row["tokens_per_second"] for row in rows)
        summary |= {"unit": data.unit, "tokens_per_second": round(tokens_per_second, 1)}
        speed = f"{tokens_per_second:,.0f} tokens per second, "
    run.write_summary(summary)
    if text and not brief:
        print(text)
    measured = "; ".join(f"{name} {module.describe(found)}" for name, found in figures.items())
    best_row = next((row for row in rows if row["step"] == summary["best_step"]), rows[-1])
    place = f"epoch {best_row['epoch']} of {rows[-1]['epoch']}"
    if summary["ended_by"] == "patience":
        print(f"Stopped early: no improvement in {job.options.patience} validations")
    if summary["ended_by"] == "max_time":
        print(f"Stopped after --trainer.max_time {job.options.trainer.max_time}")
    print(
        f"{data.dataset} {module.config.encoder}: {measured} ({place}); {summary['parameters']:,} "
        f"parameters, {speed}{job.history.seconds:.1f} s, {run.path}"
    )


def _report(job: Fit, module: Any, checkpoint: dict[str, Any], figures: dict[str, dict[str, float]]) -> str:
    """Have the task report on the test or validation set; add the results to the figures and the model."""
    if job.task.report is None:
        return ""
    names = [row[0].removeprefix("--").replace("-", "_") for row in job.task.report_options]
    part = "test" if "test" in figures else "validation"
    found = report(
        job.task,
        module,
        job.data,
        job.run.figures,
        part=part,
        device=device_of(job.options.trainer.accelerator),
        **{name: job.options[name] for name in names},
    )
    figures[part].update(found.figures)
    module.exported = {**module.exported, **found.exported}
    if found.exported:
        # The best checkpoint must give the same answers as the export.
        checkpoint["hyper_parameters"] |= found.exported
        AtomicCheckpointIO().save_checkpoint(checkpoint, job.run.best)
    return found.text
