"""Trainers for published tasks with fast recurrent networks, run from one command, `sru`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sru_data.moved import redirect

__all__ = ["load"]
__version__ = "0.1.0"


def load(path: str | Path, *, device: Any = "cpu") -> Any:
    """Read a trained model of any task, ready to use.

        model = sru_apps.load("runs/classify/sst2/first")
        model.predict(["A warm and funny film."])

    Args:
        path: A run folder, the `model` folder in it, or a `.ckpt` file.
        device: The device to run on, as torch names it.

    Returns:
        The inference class of the task that made it: `Classifier` of `sru classify`, `QuestionAnswerer` of
        `sru squad`, `Translator` of `sru translate`, `Transcriber` of `sru speech`, `TrainedLanguageModel` of
        `sru lm`, `TrainedChatModel` of `sru chat`.

    Raises:
        UserError: The model is missing or damaged, its weights are not finite, or the device does not exist.
        DataError: The tokenizer is damaged.
    """
    # Imported here because it imports torch.
    from sru_apps.inference.loading import load as load_model

    return load_model(path, device=device)


redirect(
    {
        "sru_apps.encoders": "sru_apps.nn",
        "sru_apps.dropout": "sru_apps.nn.layers",
        "sru_apps.training": "sru_apps.train",
        "sru_apps.training.optimizers": "sru_apps.train.optimizers",
        "sru_apps.classification": "sru_apps.tasks.classify",
        "sru_apps.classification.model": "sru_apps.tasks.classify.model",
        "sru_apps.language_modelling": "sru_apps.tasks.lm",
        "sru_apps.language_modelling.config": "sru_apps.tasks.lm.model",
        "sru_apps.language_modelling.model": "sru_apps.tasks.lm.model",
        "sru_apps.language_modelling.module": "sru_apps.tasks.lm.module",
        "sru_apps.language_modelling.generate": "sru_apps.decoding.continuation",
        "sru_apps.language_modelling.sampling": "sru_apps.decoding.sampling",
        "sru_apps.chat": "sru_apps.tasks.chat",
        "sru_apps.chat.load": "sru_apps.tasks.chat.model",
        "sru_apps.chat.reply": "sru_apps.tasks.chat.model",
        "sru_apps.demo": "sru_apps.tasks.demo.commands",
    }
)
