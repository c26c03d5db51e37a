"""Trained classifiers from an export, a checkpoint or a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sru_apps.tasks.classify import TASK
from sru_apps.tasks.classify.model import ClassifierConfig, SentenceClassifier
from sru_apps.train.checkpoint_io import reading
from sru_apps.train.errors import UserError
from sru_apps.train.evaluate import load_module
from sru_apps.train.export import read_export
from sru_apps.train.run_folder import RunFolder
from sru_apps.train.tokenizers import parse_tokenizer, read_exported_tokenizer
from sru_data.tokenizers import Tokenizer


@dataclass(frozen=True)
class TrainedClassifier:
    """What it takes to label sentences."""

    network: SentenceClassifier
    """In evaluation mode."""
    tokenizer: Tokenizer
    """Text to word numbers."""
    label_names: list[str]
    """The names of the classes."""


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
        module, checkpoint = load_module(TASK, path)
        with reading(path):
            tokenizer = parse_tokenizer(checkpoint["SentenceData"]["tokenizer"])
            return _whole(module.network, tokenizer, module.label_names)
    folder = RunFolder(path).model if RunFolder(path).config.is_file() else path
    weights, config = read_export(folder, task=TASK.name)
    tokenizer = read_exported_tokenizer(folder)
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
