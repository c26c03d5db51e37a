"""`--init-from`: a new run that starts with the weights, the tokenizer and the options of a trained model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from inspect import signature
from pathlib import Path

import torch
import yaml  # type: ignore[import-untyped,unused-ignore]
from jsonargparse import Namespace
from torch import Tensor

from sru_apps.inference.loading import load_trained
from sru_apps.task import Task
from sru_apps.train.data import TaskData
from sru_apps.train.errors import UserError, clip
from sru_apps.train.export import dump_tokenizer
from sru_apps.train.module import TaskModule
from sru_apps.train.options import peek

_BROUGHT = {"tokenizer": "tokenizer", "embeddings": "word vectors"}
"""Options of the data that the model provides instead."""
_VOCABULARY = ("unit", "vocab_size", "subword_model", "min_count", "lowercase", "rules", "embedding_words")
"""Options with which the data would build its own vocabulary."""
_NAMES_SHOWN = 6


class Start:
    """A trained model to start from.

    Args:
        task: The expected task.
        path: A run folder, the `model` folder in it, or a checkpoint.

    Raises:
        UserError: The model is missing, damaged or for another task, or its weights are not finite.
    """

    def __init__(self, task: Task, path: str) -> None:
        self.path = path
        self._trained = load_trained(task, Path(path))
        self._config = self._trained.config
        self._unused: list[str] = []

    def settings(self, module_class: type[TaskModule]) -> str:
        """Return the `--model.*` options of the trained model, and the sizes set by data options, as YAML."""
        built = asdict(self._config)
        given = {item.name for item in fields(self._config) if item.default is not MISSING}
        found = {
            "model": {name: value for name, value in built.items() if name in given},
            "data": {name: built[name] for name in module_class.sizes_of_data},
        }
        # JSON has no tuples.
        return str(yaml.safe_dump(json.loads(json.dumps(found))))

    def prepare(self, data: TaskData, options: Namespace, args: Sequence[str]) -> None:
        """Have the data use the model's tokenizer.

        Args:
            data: The data, not set up.
            options: The options of the run.
            args: The command line.

        Raises:
            UserError: An option asks for a different one.
        """
        for name, what in _BROUGHT.items():
            if options.data.get(name) is not None:
                raise UserError(
                    f"--init-from takes the {what} of its model, got --data.{name} "
                    f"{clip(str(options.data[name]), 80)} too; leave one of them out"
                )
        for name in (*_VOCABULARY, "joint"):
            if peek(args, f"--data.{name}") is not None:
                raise UserError(
                    f"--init-from takes the vocabulary of its model, got --data.{name} too; leave it out"
                )
        usual = signature(type(data)).parameters
        self._unused = [
            f"--data.{name}"
            for name in _VOCABULARY
            if name in usual and options.data[name] != usual[name].default
        ]
        data.take_tokenizer(dump_tokenizer(self._trained.tokenizer), asdict(self._config))

    def give(self, module: TaskModule) -> str:
        """Copy the weights whose name and shape fit to a module.

        Args:
            module: The module.

        Returns:
            A one-line description of the copied weights.

        Raises:
            UserError: No matrix fits.
        """
        reason, anew = module.relearned(self._trained)
        weights: Mapping[str, Tensor] = self._trained.network.state_dict()
        taken: list[str] = []
        new: list[str] = []
        with torch.no_grad():
            for name, weight in module.network.state_dict().items():
                former = weights.get(name)
                fits = former is not None and former.shape == weight.shape and not name.startswith(anew)
                (taken if fits else new).append(name)
                if former is not None and fits:
                    weight.copy_(former)
        if not any(weights[name].ndim > 1 for name in taken):
            raise UserError(
                f"{self.path}: no matrix has a name and shape of this model, {module.config.encoder}; "
                "leave out the --model.* options that differ from the model to start from"
            )
        line = f"starts from {self.path}: {len(taken)} of {len(taken) + len(new)} weights"
        if self._unused:
            line += f", and its vocabulary instead of {', '.join(self._unused)}"
        return f"{line}; new: {listed(new)}{reason and f' ({reason})'}" if new else line


def listed(names: Sequence[str]) -> str:
    """List the first few names."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
