"""Trained language models from an export, a checkpoint or a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sru_apps.nn import EncoderOptions
from sru_apps.tasks.lm.config import LanguageModelConfig
from sru_apps.tasks.lm.model import LanguageModel
from sru_apps.train.checkpoint_io import read_checkpoint, reading
from sru_apps.train.errors import UserError, building
from sru_apps.train.export import check_task, export_model, read_export
from sru_apps.train.run_folder import RunFolder
from sru_apps.train.tokenizers import export_tokenizer, parse_tokenizer, read_exported_tokenizer
from sru_data.tokenizers import Tokenizer

TASK = "lm"
"""The task of the models, as `sru` calls it."""

_MODULE_PREFIX = "network."


@dataclass(frozen=True)
class TrainedLanguageModel:
    """A model and its tokenizer, ready to continue a text or to score one."""

    network: LanguageModel
    """In evaluation mode."""
    tokenizer: Tokenizer
    """Text to symbols and back."""


def export_language_model(
    folder: Path, network: LanguageModel, tokenizer: Tokenizer, *, task: str = TASK
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
    path: Path,
    *,
    task: str = TASK,
    data: str = "LanguageModelData",
    extra_symbols: int = 0,
    memory_length: int | None = None,
) -> TrainedLanguageModel:
    """Read a language model.

    Args:
        path: A run folder, the `model` folder in it, or a checkpoint.
        task: The task that must have trained it.
        data: The name of the data module whose state in a checkpoint holds the tokenizer.
        extra_symbols: Symbols that the model has besides those of the tokenizer.
        memory_length: Memory of SRU++, if not as in training.

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
    if path.is_file():
        network, tokenizer = _read_checkpoint(path, task, data, memory_length)
    else:
        network, tokenizer = _read_export(path, task, memory_length)
    wanted, found = network.config.vocab_size, len(tokenizer) + extra_symbols
    if wanted != found:
        raise UserError(
            f"{path}: the model has {wanted} symbols and its tokenizer {found}; they do not belong together"
        )
    return TrainedLanguageModel(network.eval(), tokenizer)


def with_memory_length(config: Mapping[str, Any], memory_length: int | None) -> Mapping[str, Any]:
    """Change the memory of SRU++, on which no weight depends.

    Args:
        config: The options of a `LanguageModelConfig`.
        memory_length: The length, or None to leave it.

    Returns:
        The changed configuration.

    Raises:
        UserError: The encoder has no such option.
    """
    if memory_length is None:
        return config
    with building():
        EncoderOptions(memory_length=memory_length).given(config["encoder"])
    return {**config, "memory_length": memory_length}


def _read_export(folder: Path, task: str, memory_length: int | None) -> tuple[LanguageModel, Tokenizer]:
    weights, config = read_export(folder, task=task)
    with reading(folder, kind="an exported model"):
        network = _build(with_memory_length(config["model"], memory_length), weights)
    return network, read_exported_tokenizer(folder)


def _read_checkpoint(
    path: Path, task: str, data: str, memory_length: int | None
) -> tuple[LanguageModel, Tokenizer]:
    checkpoint = read_checkpoint(path)
    check_task(checkpoint.get("task"), task, path)
    with reading(path):
        weights = {
            name.removeprefix(_MODULE_PREFIX): weight
            for name, weight in checkpoint["state_dict"].items()
            if name.startswith(_MODULE_PREFIX)
        }
        config = with_memory_length(checkpoint["hyper_parameters"]["config"], memory_length)
        network = _build(config, weights)
        return network, parse_tokenizer(checkpoint[data]["tokenizer"])


def _build(config: Mapping[str, Any], weights: dict[str, Tensor]) -> LanguageModel:
    network = LanguageModel(LanguageModelConfig(**config))
    same = {name: weights[first] for name, first in _shared_names(network).items() if first in weights}
    network.load_state_dict({**weights, **same})
    return network


def _shared_names(network: LanguageModel) -> dict[str, str]:
    """Map each further name of a shared weight to its first one: the files hold a weight once."""
    first: dict[int, str] = {}
    shared = {}
    for name, weight in network.state_dict(keep_vars=True).items():
        if first.setdefault(id(weight), name) != name:
            shared[name] = first[id(weight)]
    return shared
