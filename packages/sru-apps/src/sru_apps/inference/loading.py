"""Trained models from files: an export, a checkpoint or a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sru_apps.inference.trained import Trained
from sru_apps.task import Task
from sru_apps.task import load as load_target
from sru_apps.tasks import TASKS
from sru_apps.train.errors import UserError, building, clip, reading
from sru_apps.train.export import check_task, parse_tokenizer, read_export, read_exported_tokenizer
from sru_apps.train.run_folder import RunFolder
from sru_apps.train.strict_json import read_json
from sru_apps.train.weights import build_with, read_checkpoint

_NETWORK = "network."
"""The prefix of the weight names in a checkpoint."""


def load(path: str | Path, *, device: str | torch.device = "cpu") -> Any:
    """Read a trained model of any task.

    Args:
        path: A run folder, the `model` folder in it, or a `.ckpt` file.
        device: The device to run on, as torch names it.

    Returns:
        A `Classifier` of `sru classify`, a `QuestionAnswerer` of `sru squad`, a `Translator` of
        `sru translate`, a `Transcriber` of `sru speech`, a `TrainedLanguageModel` of `sru lm`, or a
        `TrainedChatModel` of `sru chat`.

    Raises:
        UserError: The model is missing or damaged, its weights are not finite, or the device does not exist.
        DataError: The tokenizer is damaged.
    """
    path = _find(Path(path))
    checkpoint = read_checkpoint(path) if path.is_file() else None
    name = _task_of_export(path) if checkpoint is None else checkpoint.get("task")
    # Other commands, such as `demo`, are not tasks.
    tasks = {task: row.target for task, row in TASKS.items() if row.is_task}
    if not isinstance(name, str) or name not in tasks:
        made_by = "no task of this program" if name is None else f"`sru {clip(str(name), 40)}`"
        raise UserError(f"{path} was made by {made_by}; expected one made by `sru` {', '.join(tasks)}")
    model = _load(load_target(tasks[name]), path, checkpoint, {})
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"the device {clip(str(device), 40)!r} cannot be used: {reason}") from error


def load_trained(task: Task, path: Path, model: Mapping[str, Any] | None = None) -> Any:
    """Read a trained model of a task.

    Args:
        task: The task that the model must be for.
        path: A run folder, the `model` folder in it, or a checkpoint.
        model: Options of the model to override; they must not change the weights.

    Returns:
        An instance of the task's `predictor`, on the CPU.

    Raises:
        UserError: The model is missing, damaged or for another task, its vocabulary size differs from the
            tokenizer's, its weights are not finite, or it refuses an option.
        DataError: The tokenizer is damaged.
    """
    path = _find(path)
    return _load(task, path, read_checkpoint(path) if path.is_file() else None, model or {})


def _load(
    task: Task, path: Path, checkpoint: Mapping[str, Any] | None, changes: Mapping[str, Any]
) -> Trained:
    """Build the model of a checkpoint or, without one, of the export in a folder."""
    kind: type[Trained] = load_target(task.predictor)
    if checkpoint is not None:
        check_task(checkpoint.get("task"), task.name, path)
        with reading(path):
            entries = kind.entries(checkpoint["hyper_parameters"])
            network = _build(kind, _network_of(checkpoint["state_dict"]), entries, changes)
            content = checkpoint[task.data.rpartition(":")[2]]["tokenizer"]
            text = parse_tokenizer(content, kind.read_tokenizer)
    else:
        weights, entries = read_export(path, task=task.name)
        with reading(path, kind="an exported model"):
            network = _build(kind, weights, entries, changes)
        text = read_exported_tokenizer(path, kind.read_tokenizer)
    trained = kind(network, text, entries)
    wanted, found = trained.config.vocab_size, len(trained.tokenizer)
    if wanted != found:
        raise UserError(
            f"{path}: the model has {wanted} tokens and its tokenizer {found}; they do not belong together"
        )
    for name, weight in network.state_dict().items():
        if not weight.isfinite().all():
            raise UserError(
                f"{path}: {_NETWORK}{name} holds values that are not finite: its training diverged"
            )
    return trained


def changed(config: Any, changes: Mapping[str, Any]) -> Any:
    """Return a configuration with some options changed.

    Raises:
        UserError: The configuration refuses a value.
    """
    with building():
        return replace(config, **changes)


def _find(path: Path) -> Path:
    """Return the export or the checkpoint that a path stands for."""
    if not path.exists():
        raise UserError(f"no model at {path}; give a run folder, the `model` folder in it, or a checkpoint")
    run = RunFolder(path)
    if run.config.is_file():
        # An interrupted run has not exported anything yet.
        return run.model if (run.model / "config.json").is_file() or not run.best.is_file() else run.best
    return path


def _build(
    kind: type[Trained], weights: Mapping[str, Any], entries: Mapping[str, Any], changes: Mapping[str, Any]
) -> Any:
    config = changed(kind.config_class(**entries["model"]), changes)
    kind.check(config, entries)
    return build_with(lambda: kind.network_class(config), weights)


def _network_of(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(_NETWORK): weight for name, weight in weights.items() if name.startswith(_NETWORK)
    }


def _task_of_export(folder: Path) -> Any:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} is not an exported model: {path.name} is missing")
    with reading(path, kind="a configuration"):
        config = read_json(path)
    return config.get("task") if isinstance(config, dict) else None
