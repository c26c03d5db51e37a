"""`sru TASK prepare`, `validate` and `test`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from glob import has_magic
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import LightningDataModule, Trainer

from sru_apps.inference.loading import changed
from sru_apps.task import Task, load
from sru_apps.train.console import EpochBar, quiet_lightning, wants_progress_bar
from sru_apps.train.errors import UserError, building, reading
from sru_apps.train.export import check_task
from sru_apps.train.module import TaskModule
from sru_apps.train.options import (
    OptionParser,
    add_options,
    evaluation_options,
    parse_options,
    peek,
    recipe_names,
    recipe_path,
    settings_for,
    with_settings,
)
from sru_apps.train.report import report
from sru_apps.train.run_folder import find_checkpoint
from sru_apps.train.strict_json import dump_json
from sru_apps.train.weights import build_with, read_checkpoint

Stage = Literal["validate", "test"]
STAGES: dict[Stage, str] = {"validate": "validation", "test": "test"}
"""The part of the data that each command evaluates."""


def measure(
    module: TaskModule, data: LightningDataModule, stage: Stage, *, accelerator: str
) -> dict[str, float]:
    """Measure a trained module, in this process only.

    Args:
        module: The module, with its weights.
        data: The data it was trained for.
        stage: The part to use.
        accelerator: As Lightning names it.

    Returns:
        The figures that the module logs, without the name of the part as a prefix.

    Raises:
        UserError: There is no such accelerator.
    """
    trainer = _tester(accelerator)
    getattr(trainer, stage)(module, data, verbose=False)
    prefix = f"{STAGES[stage]}_"
    return {
        name.removeprefix(prefix): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith(prefix)
    }


def device_of(accelerator: str) -> torch.device:
    """Return the device that `measure` computes on."""
    return _tester(accelerator).strategy.root_device


def _tester(accelerator: str) -> Trainer:
    with building():
        return Trainer(
            accelerator=accelerator,
            devices=1,
            # After training in several processes the others are gone, but the environment still names them.
            plugins=[LightningEnvironment()],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[EpochBar()] if wants_progress_bar() else [],
            enable_progress_bar=wants_progress_bar(),
        )


def load_module(task: Task, path: Path, model: Mapping[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
    """Read a training checkpoint.

    Args:
        task: The expected task.
        path: A `.ckpt` file.
        model: Options of the model to override; they must not change the weights.

    Returns:
        The module with its weights, and the whole checkpoint.

    Raises:
        UserError: The checkpoint is missing, damaged or for another task, or the model refuses an option.
    """
    checkpoint = read_checkpoint(path)
    check_task(checkpoint.get("task"), task.name, path)
    kind: type[TaskModule] = load(task.module)

    def build() -> TaskModule:
        module = kind.from_checkpoint(checkpoint["hyper_parameters"])
        return kind(**{**module.hparams, "config": changed(module.config, model)}) if model else module

    with reading(path):
        return build_with(build, checkpoint["state_dict"]), checkpoint


def evaluate(stage: Stage, task: Task, args: Sequence[str]) -> int:
    """Evaluate a checkpoint on the command's part of the data, and print the figures."""
    options = parse_options(
        f"sru {task.name} {stage}",
        f"Evaluate a checkpoint on its {STAGES[stage]} set.",
        evaluation_options(task),
        args,
    )
    quiet_lightning()
    changed: dict[str, dict[str, Any]] = {"data": {}, "model": {}}
    for option, place, _, _ in task.evaluation:
        group, _, name = place.partition(".")
        value = options[option.removeprefix("--").replace("-", "_")]
        if value is not None:
            changed[group][name] = value
    path = find_checkpoint(Path(options.checkpoint))
    out = options.get("out")
    if out is not None:
        # Created now, so that an unwritable path is reported before anything is measured.
        Path(out).mkdir(parents=True, exist_ok=True)
    module, checkpoint = load_module(task, path, changed["model"])
    kind = load(task.data)
    with reading(path):
        settings = kind.changed(checkpoint["datamodule_hyper_parameters"], changed["data"])
        settings = {"seed": settings.pop("seed"), **settings}  # every run has one
        state = dict(checkpoint[kind.__qualname__])
        _check_files(task, settings)
        with building():
            data = kind(**settings)
        data.evaluates = True
        data.load_state_dict(state)
        data.prepare_data()
        data.setup(stage)
        data.warn_about(STAGES[stage])
    figures, text = measure(module, data, stage, accelerator=options.accelerator), ""
    if out is not None:
        device = device_of(options.accelerator)
        found = report(task, module, data, Path(out), part=STAGES[stage], device=device)
        figures, text = {**figures, **found.figures}, found.text
    unknown = data.unknown(STAGES[stage])
    if options.json:
        facts = {"unit": data.unit, **figures} if data.unit else figures
        if unknown is not None:
            facts |= {"tokens": unknown.tokens, "unknown": unknown.unknown}
        if given := {**changed["data"], **changed["model"]}:
            facts |= {"options": given}
        print(dump_json({"checkpoint": str(path), "dataset": data.dataset, "set": STAGES[stage], **facts}))
    else:
        print(f"{data.dataset} {module.config.encoder}: {STAGES[stage]} {module.describe(figures)}")
        if unknown is not None:
            print(unknown.summary())
        if text:
            print(text)
    return 0


def _check_files(task: Task, settings: Mapping[str, Any]) -> None:
    """Name the option for a file that has moved since training."""
    for option, place, _, _ in task.evaluation:
        name = place.removeprefix("data.")
        files = settings.get(name) if name.endswith("_file") else None
        for file in [files] if isinstance(files, str) else files or []:
            if not has_magic(file) and not Path(file).exists():
                raise UserError(f"no file at {file}; if it has moved, give its new location with {option}")


validate, test = partial(evaluate, "validate"), partial(evaluate, "test")


def prepare(task: Task, args: Sequence[str]) -> int:
    """Prepare and describe the data.

    Args:
        task: The task.
        args: The command line after `sru TASK prepare`.

    Returns:
        The exit status.
    """
    kind = load(task.data)
    parser = OptionParser(
        prog=f"sru {task.name} prepare",
        description="Prepare the data once for all runs that use it.",
    )
    text = f"Packaged settings, whose data to prepare: {', '.join(recipe_names(task))}."
    add_options(parser, [("--recipe", str | None, None, text)])
    parser.add_class_arguments(kind, "data", skip={"seed"}, instantiate=False)
    recipe = peek(args, "--recipe")
    if recipe is not None:
        data = settings_for(args, recipe_path(task, recipe)).get("data", {})
        parser.set_defaults({f"data.{key}": value for key, value in data.items()})
    options = parser.parse_args(with_settings(args, None))
    with building():
        data = kind(**options.data.as_dict())
        data.prepare_data()
        data.setup("fit")
    print(data.report())
    return 0
