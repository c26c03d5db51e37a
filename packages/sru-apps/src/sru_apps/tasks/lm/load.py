"""Trained language models from an export, a checkpoint or a run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from sru_apps.task import Task
from sru_apps.tasks.lm import TASK
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_apps.train.checkpoints import reading
from sru_apps.train.errors import UserError
from sru_apps.train.evaluate import changed, load_module
from sru_apps.train.export import (
    export_model,
    export_tokenizer,
    parse_tokenizer,
    read_export,
    read_exported_tokenizer,
)
from sru_apps.train.run_folder import RunFolder
from sru_data.tokenizers import Tokenizer


@dataclass(frozen=True)
class TrainedLanguageModel:
    """A model and its tokenizer, ready to continue a text or to score one."""

    network: LanguageModel
    """In evaluation mode."""
    tokenizer: Tokenizer
    """Text to symbols and back."""


def export_language_model(
    folder: Path, network: LanguageModel, tokenizer: Tokenizer, *, task: str = TASK.name
) -> None:
    """Write a model that `load_language_model` reads.

    Args:
        folder: The folder; made when missing.
        network: The model.
        tokenizer: Its tokenizer.
        task: The task that trained it.
    """
    shared = _shared_names(network)
    weights = {name: weight for name, weight in network.state_dict().items() if name not in shared}
    export_model(folder, weights, {"task": task, "model": asdict(network.config)})
    export_tokenizer(folder, tokenizer)


def load_language_model(
    path: Path, *, task: Task = TASK, extra_symbols: int = 0, memory_length: int | None = None
) -> TrainedLanguageModel:
    """Read a language model.

    Args:
        path: A run folder, the `model` folder in it, or a checkpoint.
        task: The task that must have trained it.
        extra_symbols: Symbols that the model has besides those of the tokenizer.
        memory_length: Memory of SRU++, if not as in training; no weight depends on it.

    Returns:
        The model on the CPU.

    Raises:
        UserError: There is none, it is damaged or of another task, it and the tokenizer differ in the number
            of symbols, or its encoder has no memory.
        DataError: The tokenizer is damaged.
    """
    if not path.exists():
        raise UserError(f"no model at {path}; give a run folder, the `model` folder in it, or a checkpoint")
    run = RunFolder(path)
    if path.is_dir() and run.config.is_file():
        # An interrupted run has not exported anything yet.
        path = run.model if (run.model / "config.json").is_file() or not run.best.is_file() else run.best
    changes = {} if memory_length is None else {"memory_length": memory_length}
    if path.is_file():
        module, checkpoint = load_module(task, path, changes)
        network = module.network
        with reading(path):
            tokenizer = parse_tokenizer(checkpoint[task.data.rpartition(":")[2]]["tokenizer"])
    else:
        weights, config = read_export(path, task=task.name)
        with reading(path, kind="an exported model"):
            network = LanguageModel(changed(LanguageModelConfig(**config["model"]), changes))
            shared = _shared_names(network)
            same = {name: weights[first] for name, first in shared.items() if first in weights}
            network.load_state_dict({**weights, **same})
        tokenizer = read_exported_tokenizer(path)
    wanted, found = network.config.vocab_size, len(tokenizer) + extra_symbols
    if wanted != found:
        raise UserError(
            f"{path}: the model has {wanted} symbols and its tokenizer {found}; they do not belong together"
        )
    return TrainedLanguageModel(network.eval(), tokenizer)


def _shared_names(network: LanguageModel) -> dict[str, str]:
    """Map each further name of a shared weight to its first one: the files hold a weight once."""
    first: dict[int, str] = {}
    shared = {}
    for name, weight in network.state_dict(keep_vars=True).items():
        if first.setdefault(id(weight), name) != name:
            shared[name] = first[id(weight)]
    return shared
