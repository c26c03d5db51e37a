"""Trained language models from an export, a checkpoint or a run folder."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sru_apps.encoders import EncoderOptions
from sru_apps.language_modelling.config import LanguageModelConfig
from sru_apps.language_modelling.model import LanguageModel
from sru_apps.language_modelling.tokenizer_state import dump_tokenizer, parse_tokenizer
from sru_apps.training.checkpoint_io import read_checkpoint, reading
from sru_apps.training.errors import UserError, building
from sru_apps.training.export import check_task, export_model, read_export
from sru_apps.training.run_folder import RunFolder
from sru_data.atomic import atomic_write
from sru_data.tokenizers import Tokenizer, load_tokenizer

TASK = "lm"
"""The command that trains the models, as `sru` calls it."""

_JSON_NAME, _BINARY_NAME = "tokenizer.json", "tokenizer.model"
_MODULE_PREFIX = "network."


@dataclass(frozen=True)
class TrainedLanguageModel:
    """What it takes to go on with a text, or to score one."""

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
        tokenizer: What its symbols mean.
        task: The command that trained it.
    """
    shared = _shared_names(network)
    weights = {name: weight for name, weight in network.state_dict().items() if name not in shared}
    export_model(folder, weights, {"task": task, "model": asdict(network.config)})
    content = dump_tokenizer(tokenizer)
    is_json = content.lstrip().startswith("{")
    name, other = (_JSON_NAME, _BINARY_NAME) if is_json else (_BINARY_NAME, _JSON_NAME)
    with atomic_write(folder / name) as file:
        file.write(content.encode() if is_json else base64.b64decode(content))
    (folder / other).unlink(missing_ok=True)


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
        task: The command that must have trained it.
        data: The name of the data module whose state in a checkpoint holds the tokenizer.
        extra_symbols: How many symbols the model has beside those of the tokenizer.
        memory_length: What SRU++ is to remember, if not as much as in training.

    Returns:
        The model on the CPU.

    Raises:
        UserError: When there is none, it is damaged or of another task, it has another number of symbols than
            the tokenizer, or its encoder has no memory whose length could be chosen.
        DataError: When the tokenizer is damaged.
    """
    if not path.exists():
        raise UserError(f"no model at {path}; give a run folder, the `model` folder in it, or a checkpoint")
    run = RunFolder(path)
    if path.is_dir() and run.config.is_file():
        # A run that was interrupted has not exported anything yet.
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
    """Let SRU++ remember more than in training, or less: no weight depends on it.

    Args:
        config: What builds a `LanguageModelConfig`.
        memory_length: The length, or None to leave it.

    Returns:
        The changed configuration.

    Raises:
        UserError: When the encoder has no such option.
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
    binary = folder / _BINARY_NAME
    return network, load_tokenizer(binary if binary.is_file() else folder / _JSON_NAME)


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
