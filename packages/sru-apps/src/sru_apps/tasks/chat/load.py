"""Trained models that answer, from an export, a checkpoint or a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sru_apps.tasks.chat.tokenizer import MARKERS, DialogueTokenizer
from sru_apps.tasks.lm.load import export_language_model, load_language_model
from sru_apps.tasks.lm.model import LanguageModel

TASK = "chat"
"""The task of the models, as `sru` calls it."""


@dataclass(frozen=True)
class TrainedChatModel:
    """A model and its tokenizer, ready to answer."""

    network: LanguageModel
    """In evaluation mode."""
    tokenizer: DialogueTokenizer
    """Dialogues to numbers and back."""


def export_chat_model(folder: Path, network: LanguageModel, tokenizer: DialogueTokenizer) -> None:
    """Write a model that `load_chat_model` reads.

    Args:
        folder: The folder; made when missing.
        network: The model.
        tokenizer: Its tokenizer.
    """
    export_language_model(folder, network, tokenizer.text, task=TASK)


def load_chat_model(path: Path) -> TrainedChatModel:
    """Read a model that answers.

    Args:
        path: A run folder, the `model` folder in it, or a checkpoint.

    Returns:
        The model on the CPU.

    Raises:
        UserError: There is none, or it is damaged or of another task.
        DataError: The tokenizer is damaged.
    """
    trained = load_language_model(path, task=TASK, data="ChatData", extra_symbols=len(MARKERS))
    return TrainedChatModel(trained.network, DialogueTokenizer(trained.tokenizer))
