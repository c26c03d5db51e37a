"""Trained classifiers from an export, a checkpoint or a run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sru_apps.classification.data import SentenceData, dump_tokenizer, parse_tokenizer
from sru_apps.classification.model import ClassifierConfig, SentenceClassifier
from sru_apps.classification.module import TASK, ClassifierModule
from sru_apps.training.checkpoint_io import read_checkpoint, reading
from sru_apps.training.errors import UserError
from sru_apps.training.export import check_task, export_model, read_export
from sru_apps.training.run_folder import RunFolder
from sru_data.atomic import atomic_write
from sru_data.tokenizers import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class TrainedClassifier:
    """What it takes to label sentences."""

    network: SentenceClassifier
    """In evaluation mode."""
    tokenizer: Tokenizer
    """Text to word numbers."""
    label_names: list[str]
    """The names of the classes."""


def export_classifier(folder: Path, module: ClassifierModule, tokenizer: Tokenizer) -> None:
    """Write a model that `load_classifier` reads."""
    config = {"task": TASK, "labels": module.label_names, "model": asdict(module.network.config)}
    export_model(folder, module.network.state_dict(), config)
    with atomic_write(folder / "tokenizer.json") as file:
        file.write(dump_tokenizer(tokenizer).encode())


def load_classifier(path: Path) -> TrainedClassifier:
    """Read a classifier.

    Args:
        path: A run folder, the `model` folder in it, or a checkpoint.

    Returns:
        The classifier on the CPU.

    Raises:
        UserError: When there is none, or it is damaged or of another task.
    """
    if not path.exists():
        raise UserError(f"no model at {path}; give a run folder, the `model` folder in it, or a checkpoint")
    if path.is_file():
        module, checkpoint = load_module(path)
        with reading(path):
            tokenizer = parse_tokenizer(checkpoint[SentenceData.__qualname__]["tokenizer"])
            return _whole(module.network, tokenizer, module.label_names)
    folder = RunFolder(path).model if RunFolder(path).config.is_file() else path
    weights, config = read_export(folder, task=TASK)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    with reading(folder, kind="an exported model"):
        network = SentenceClassifier(ClassifierConfig(**config["model"]))
        network.load_state_dict(weights)
        return _whole(network, tokenizer, config["labels"])


def _whole(network: SentenceClassifier, tokenizer: Tokenizer, label_names: list[str]) -> TrainedClassifier:
    config = network.config
    if len(label_names) != config.num_classes:
        raise ValueError(f"expected {config.num_classes} labels, got {len(label_names)}")
    if len(tokenizer) != config.vocab_size:
        raise ValueError(f"expected a tokenizer of {config.vocab_size} words, got {len(tokenizer)}")
    return TrainedClassifier(network.eval(), tokenizer, label_names)


def load_module(path: Path) -> tuple[ClassifierModule, dict[str, Any]]:
    """Read a training checkpoint.

    Args:
        path: A `.ckpt` file.

    Returns:
        The module with its weights, and the whole checkpoint.

    Raises:
        UserError: When it is missing, damaged or of another task.
    """
    checkpoint = read_checkpoint(path)
    check_task(checkpoint.get("task"), TASK, path)
    with reading(path):
        module = ClassifierModule(**checkpoint["hyper_parameters"])
        module.load_state_dict(checkpoint["state_dict"])
    return module, checkpoint
